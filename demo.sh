#!/bin/sh
#
# Show certgrinderd from end to end on one machine: see usage.
set -eu

usage() {
    cat <<'END'
usage: ./demo.sh [-h]

Demonstrates certgrinderd. Builds dist/certgrinderd.pyz, starts a test CA (Pebble),
creates a key and a certificate signing request, and runs certgrinderd as sshd would
to get the certificate. Then requests a certificate that certgrinderd must refuse.

Run it on Debian 12, as root or as a user who may use sudo. It installs python3-venv,
openssl and pebble if they are missing. Everything else is in a temporary folder and
on free ports of 127.0.0.1, and is removed at the end. Takes about a minute.
END
}

packages="openssl pebble python3-venv"
# What the client may have. Names in .example are reserved and never exist.
domainset=www.demo.example,demo.example

fail() {
    printf 'demo.sh: %s\n' "$1" >&2
    exit 1
}

step() {
    printf '\n==> %s\n' "$1"
}

case ${1-} in
'') ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

cd -- "$(dirname -- "$0")"

temp=
servers=
clean_up() {
    status=$?
    trap - EXIT
    if [ -n "$temp" ]; then
        for pid in $servers; do
            kill "$pid" 2>/dev/null || :
        done
        for pid in $servers; do
            wait "$pid" 2>/dev/null || :
        done
        rm -rf -- "$temp"
        printf '\nThe servers are stopped and the temporary folder is removed.\n'
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

missing=
for package in $packages; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
        missing="$missing $package"
done
if [ -n "$missing" ]; then
    step "Installing with apt-get:$missing"
    command -v apt-get >/dev/null || fail "apt-get not found; install these by hand:$missing"
    root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "run this as root, or install these first:$missing"
        root=sudo
    fi
    # None of these packages starts a service.
    $root apt-get update -qq </dev/null
    # shellcheck disable=SC2086 # lists of words
    $root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
fi

step 'Building dist/certgrinderd.pyz: the program and its libraries in one file'
./build_pyz.sh
pyz=$PWD/dist/certgrinderd.pyz

umask 077
temp=$(mktemp -d "${TMPDIR:-/tmp}/certgrinderd-demo.XXXXXXXX")
mkdir "$temp/ca" "$temp/home" "$temp/webroot" "$temp/run" "$temp/certbot"

# Find free ports. Hold all of them at once, so that they differ.
# shellcheck disable=SC2046 # a list of numbers
set -- $(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*(server.getsockname()[1] for server in held))')
acme_port=$1 pebble_management_port=$2 dns_port=$3 dns_management_port=$4 web_port=$5

# start NAME COMMAND…: run a server, with its output in NAME.log.
start() {
    name=$1
    shift
    "$@" >"$temp/$name.log" 2>&1 </dev/null &
    servers="$servers $!"
}

# await NAME PORT: wait until the server accepts connections, at most 10 seconds.
await() {
    python3 - "$2" <<'END' || {
import socket
import sys
import time

for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit(1)
END
        cat -- "$temp/$1.log" >&2
        fail "$1 did not start; its output is above"
    }
}

step 'Starting a test CA (Pebble), a name server that resolves every name to
    127.0.0.1, and a web server for the challenges'
# Pebble serves HTTPS with a certificate that its client must trust.
openssl req -x509 -newkey rsa:2048 -noenc -days 2 -subj '/CN=demo CA web server' \
    -addext 'subjectAltName=IP:127.0.0.1' -addext 'extendedKeyUsage=serverAuth' \
    -keyout "$temp/ca/key.pem" -out "$temp/ca/cert.pem" 2>"$temp/openssl.log" ||
    fail "openssl: $(cat -- "$temp/openssl.log")"
cat >"$temp/ca/pebble.json" <<END
{
  "pebble": {
    "listenAddress": "127.0.0.1:$acme_port",
    "managementListenAddress": "127.0.0.1:$pebble_management_port",
    "certificate": "$temp/ca/cert.pem",
    "privateKey": "$temp/ca/key.pem",
    "httpPort": $web_port,
    "tlsPort": $web_port
  }
}
END
start pebble-challtestsrv pebble-challtestsrv -management "127.0.0.1:$dns_management_port" \
    -dns01 "127.0.0.1:$dns_port" -http01 '' -https01 '' -tlsalpn01 '' \
    -defaultIPv4 127.0.0.1 -defaultIPv6 ''
# By default Pebble sleeps before it validates and rejects some nonces, to test its clients. The
# test suite keeps these defaults. The demo turns them off, so that its output is always the same.
start pebble env PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 \
    pebble -config "$temp/ca/pebble.json" -dnsserver "127.0.0.1:$dns_port"
start web-server python3 -I -m http.server --bind 127.0.0.1 --directory "$temp/webroot" "$web_port"
await pebble-challtestsrv "$dns_management_port"
await web-server "$web_port"
await pebble "$acme_port"

step 'On the client: creating a key, which stays there, and a certificate request'
# request NAME DNS-NAMES: create NAME.key and NAME.csr; the first DNS name is the common name.
request() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc \
        -subj "/CN=${2%%,*}" -addext "subjectAltName=DNS:$(printf '%s' "$2" | sed 's/,/,DNS:/g')" \
        -keyout "$temp/$1.key" -out "$temp/$1.csr" 2>"$temp/openssl.log" ||
        fail "openssl: $(cat -- "$temp/openssl.log")"
    openssl req -in "$temp/$1.csr" -noout -subject
    openssl req -in "$temp/$1.csr" -noout -text | grep -A1 'Subject Alternative Name'
}
request permitted "$domainset"

cat >"$temp/certgrinderd.conf" <<END
acme-server-url: https://127.0.0.1:$acme_port/dir
acme-email: demo@demo.example
web-root: $temp/webroot
temp-dir: $temp/run
pid-dir: $temp/run
certbot-config-dir: $temp/certbot/config
certbot-work-dir: $temp/certbot/work
certbot-logs-dir: $temp/certbot/logs
END

# ask WORD… <CSR: do what sshd does when a client with this line in authorized_keys runs
# `ssh certgrinderd@server -T -- WORD…`:
#   restrict,environment="CERTGRINDERD_DOMAINSETS=…",command="…/certgrinderd.pyz --config-file …
#   $SSH_ORIGINAL_COMMAND" ssh-ed25519 AAAA…
# Only the demo needs REQUESTS_CA_BUNDLE: the system trusts a real CA.
ask() {
    env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$temp/home" LOGNAME="$(id -un)" \
        CERTGRINDERD_CACHE="$temp/cache" \
        SSH_CONNECTION='127.0.0.1 50022 127.0.0.1 22' SSH_ORIGINAL_COMMAND="$*" \
        CERTGRINDERD_DOMAINSETS="$domainset" REQUESTS_CA_BUNDLE="$temp/ca/cert.pem" \
        "$pyz" --config-file "$temp/certgrinderd.conf" "$@"
}

step "On the server: certgrinderd receives the request. This client may have
    $domainset"
printf '$ ssh certgrinderd@server -T -- get certificate <permitted.csr\n'
ask get certificate <"$temp/permitted.csr" >"$temp/chain.pem" || {
    tail -n 20 -- "$temp/pebble.log" >&2
    fail 'no certificate; the reason and the end of the CA log are above'
}

step 'The certificate, and the chain that came with it'
openssl x509 -in "$temp/chain.pem" -noout -subject -issuer -dates -ext subjectAltName
printf 'chain:\n'
openssl crl2pkcs7 -nocrl -certfile "$temp/chain.pem" | openssl pkcs7 -print_certs -noout |
    sed '/^$/d; s/^/    /'
[ "$(openssl x509 -in "$temp/chain.pem" -noout -pubkey)" = \
    "$(openssl pkey -in "$temp/permitted.key" -pubout)" ] ||
    fail "the certificate does not match the client's key"
printf "It matches the client's key.\n"

step 'The same client requests a name that it may not have'
request refused other.example
printf '$ ssh certgrinderd@server -T -- get certificate <refused.csr\n'
status=0
ask get certificate <"$temp/refused.csr" >"$temp/nothing.pem" || status=$?
if [ "$status" = 0 ] || [ -s "$temp/nothing.pem" ]; then
    fail 'this request should have been refused'
fi
# The CA logs each request.
if ! grep -q demo.example "$temp/pebble.log" || grep -q other.example "$temp/pebble.log"; then
    fail 'this request should not have reached the CA'
fi
printf 'Refused with exit status %s. The CA was not contacted.\n' "$status"
