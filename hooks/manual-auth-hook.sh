#!/bin/sh
#
# manual-auth-hook.sh: publish one ACME challenge.
# manual-cleanup-hook.sh: take the same challenge away again (it runs this file with the word
# "remove"; keep the two together when you copy them elsewhere).
#
# When they run: certbot, or certgrinderd's own ACME client, calls the auth hook once per challenge
# before the CA looks, and the cleanup hook once per challenge afterwards. docs/acme.md, "What the
# cleanup hook does", says when it runs, what it removes and what it must tolerate.
#
# What they do:
#   HTTP-01, when CERTBOT_TOKEN is not empty: the file
#     $WEBROOT/.well-known/acme-challenge/$CERTBOT_TOKEN holds $CERTBOT_VALIDATION. It and the
#     folders above it are readable by everybody, whatever the umask: challenges are public.
#   DNS-01, otherwise: $CERTBOT_DOMAIN.$ACMEZONE gets one more TXT value, $CERTBOT_VALIDATION, by
#     nsupdate. The client's zone points there:
#     _acme-challenge.$CERTBOT_DOMAIN CNAME $CERTBOT_DOMAIN.$ACMEZONE
#
# Given by the caller:
#   CERTBOT_DOMAIN        the name being validated, without "*." (HTTP-01 and DNS-01), or the IP
#                         address (HTTP-01)
#   CERTBOT_VALIDATION    the value to publish
#   CERTBOT_TOKEN         HTTP-01 only: the name of the file
#   WEBROOT               HTTP-01: the web server's folder, an absolute path; must exist
#   ACMEZONE              DNS-01: the zone the name server lets us update
#   CERTBOT_AUTH_OUTPUT   (cleanup; not used)
#
# Settings, from the environment or from the settings file:
#   CERTGRINDERD_NSUPDATE         the program (nsupdate)
#   CERTGRINDERD_NSUPDATE_KEY     TSIG key file (the first readable one of
#                                 /etc/certgrinderd/nsupdate.key, /etc/bind/rndc.key,
#                                 /usr/local/etc/namedb/rndc.key)
#   CERTGRINDERD_NSUPDATE_SERVER  name or address of the primary name server (127.0.0.1)
#   CERTGRINDERD_NSUPDATE_PORT    its port (53)
#   CERTGRINDERD_NSUPDATE_TTL     seconds, of the TXT record (60)
#   CERTGRINDERD_DNS_DELAY        seconds to wait after adding a TXT value, for secondaries that
#                                 the primary does not notify at once (0)
#   CERTGRINDERD_HOOKS_CONF       the settings file (/etc/certgrinderd/hooks.conf, if there is one)
#
# The settings file is sh, one NAME=value per line, and may set any of these variables but the last,
# WEBROOT, ACMEZONE and PATH. Any other name in capitals is refused, since it is a slip; names in
# small letters are for the file itself. It beats the environment: it belongs to the admin of this side of sudo, and sudo
# does not let the environment through anyway. NAME=${NAME:-value} lets the environment win.
# Whoever sets CERTGRINDERD_HOOKS_CONF or CERTGRINDERD_NSUPDATE runs programs as this user: keep
# them out of sudo's env_keep.
#
# Exit status: 0 done; 1 not done, with one line on stderr that says why. A value of the wrong
# shape is refused before anything is written.

set -eu

# Ranges like [a-z] mean ASCII, and tools answer in English.
LC_ALL=C
export LC_ALL

action=${1:-add}

# fail REASON: one line of plain characters, whatever a path or nsupdate brought along.
fail() {
    # Not [:print:], which busybox's tr need not know.
    printf '%s: %s' "${0##*/}" "$1" | tr '\n' ' ' | tr -c '\040-\176' '?' >&2
    printf '\n' >&2
    exit 1
}

# The checks name the variable and keep its value to themselves: it may hold anything.

# require_hostname NAME VALUE EXTRA: labels of letters, digits, hyphens and the characters of EXTRA.
require_hostname() {
    case .$2. in
        *[!A-Za-z0-9."$3"-]* | *..* | *.-* | *-.*) fail "$1 is not a domain name" ;;
    esac
    [ "${#2}" -le 253 ] || fail "$1 is longer than 253 characters"
    rest=$2.
    while [ -n "$rest" ]; do
        label=${rest%%.*}
        [ "${#label}" -le 63 ] || fail "$1 has a label longer than 63 characters"
        rest=${rest#*.}
    done
}

# require_base64url NAME VALUE EXTRA: 1 to 255 characters of base64url or EXTRA. One TXT string
# holds 255, a file name no more.
require_base64url() {
    case $2 in
        '' | *[!A-Za-z0-9_"$3"-]*) fail "$1 has characters that no ACME challenge has, or none" ;;
    esac
    [ "${#2}" -le 255 ] || fail "$1 is longer than 255 characters"
}

# require_number NAME VALUE
require_number() {
    case $2 in
        '' | *[!0-9]* | ??????*) fail "$1 is not a number from 0 to 99999" ;;
    esac
}

# require_known_names FILE: no line of it sets what nobody reads.
require_known_names() {
    known=' CERTGRINDERD_NSUPDATE CERTGRINDERD_NSUPDATE_KEY CERTGRINDERD_NSUPDATE_SERVER
        CERTGRINDERD_NSUPDATE_PORT CERTGRINDERD_NSUPDATE_TTL CERTGRINDERD_DNS_DELAY
        WEBROOT ACMEZONE PATH '
    names=$(sed -n 's/^[[:blank:]]*\(export[[:blank:]]*\)*\([A-Z_][A-Z0-9_]*\)=.*/\2/p' "$1")
    for name in $names; do
        case $known in
            *[[:space:]]"$name"[[:space:]]*) ;;
            *) fail "$1: there is no setting $name" ;;
        esac
    done
}

read_settings() {
    conf=${CERTGRINDERD_HOOKS_CONF:-/etc/certgrinderd/hooks.conf}
    case $conf in
        /*) ;;
        *) fail "CERTGRINDERD_HOOKS_CONF is not an absolute path" ;;
    esac
    if [ -r "$conf" ]; then
        require_known_names "$conf"
        # shellcheck source=/dev/null
        . "$conf"
    elif [ -e "$conf" ] || [ -n "${CERTGRINDERD_HOOKS_CONF:-}" ]; then
        fail "CERTGRINDERD_HOOKS_CONF: cannot read $conf"
    fi
}

# find_key: the TSIG key file, in $key.
find_key() {
    key=${CERTGRINDERD_NSUPDATE_KEY:-}
    if [ -n "$key" ]; then
        [ -r "$key" ] || fail "CERTGRINDERD_NSUPDATE_KEY: cannot read $key"
        return
    fi
    places="/etc/certgrinderd/nsupdate.key /etc/bind/rndc.key /usr/local/etc/namedb/rndc.key"
    for key in $places; do
        if [ -r "$key" ]; then
            return
        fi
    done
    fail "no readable key file for nsupdate among $places: set CERTGRINDERD_NSUPDATE_KEY"
}

# txt_record add|delete
txt_record() {
    zone=${ACMEZONE%.}
    server=${CERTGRINDERD_NSUPDATE_SERVER:-127.0.0.1}
    port=${CERTGRINDERD_NSUPDATE_PORT:-53}
    ttl=${CERTGRINDERD_NSUPDATE_TTL:-60}
    delay=${CERTGRINDERD_DNS_DELAY:-0}
    name=$CERTBOT_DOMAIN.$zone

    require_hostname CERTBOT_DOMAIN "$CERTBOT_DOMAIN" ''
    # Zones like _acme-challenge.example.net are in use.
    require_hostname ACMEZONE "$zone" _
    require_hostname "CERTBOT_DOMAIN.ACMEZONE" "$name" _
    require_base64url CERTBOT_VALIDATION "$CERTBOT_VALIDATION" ''
    case $server in
        '' | *[!A-Za-z0-9.:%_-]*) fail "CERTGRINDERD_NSUPDATE_SERVER is not a host or address" ;;
    esac
    require_number CERTGRINDERD_NSUPDATE_PORT "$port"
    require_number CERTGRINDERD_NSUPDATE_TTL "$ttl"
    require_number CERTGRINDERD_DNS_DELAY "$delay"
    find_key

    case $1 in
        add) change="add $name. $ttl IN TXT \"$CERTBOT_VALIDATION\"" ;;
        # The value is named: another order for this name keeps its own.
        delete) change="delete $name. IN TXT \"$CERTBOT_VALIDATION\"" ;;
    esac
    # With the zone given, no other zone on this server can be changed by mistake. -t: nsupdate
    # would wait 300 seconds for a silent server.
    answer=$(
        printf '%s\n' "server $server $port" "zone $zone." "update $change" send |
            "${CERTGRINDERD_NSUPDATE:-nsupdate}" -t 30 -k "$key" 2>&1
    ) || fail "nsupdate at $server port $port: cannot $1 TXT of $name: $answer"

    if [ "$1" = add ] && [ "$delay" -gt 0 ]; then
        sleep "$delay"
    fi
}

# challenge_file: checks; the path is in $file.
challenge_file() {
    # The domain names neither the folder nor the file, so it is checked for what it claims to be:
    # a name or an IP address.
    require_hostname CERTBOT_DOMAIN "$CERTBOT_DOMAIN" :
    require_base64url CERTBOT_TOKEN "$CERTBOT_TOKEN" ''
    require_base64url CERTBOT_VALIDATION "$CERTBOT_VALIDATION" .
    case $WEBROOT in
        *[[:cntrl:]]*) fail "WEBROOT has control characters" ;;
        /*) ;;
        *) fail "WEBROOT is not an absolute path" ;;
    esac
    [ -d "$WEBROOT" ] || fail "WEBROOT: $WEBROOT is not a folder"
    file=$WEBROOT/.well-known/acme-challenge/$CERTBOT_TOKEN
}

write_challenge_file() {
    folder=${file%/*}
    temporary=$folder/.$CERTBOT_TOKEN.$$
    # Made with the right mode from the start: no chmod that could follow somebody's symlink.
    umask 022
    [ -d "$folder" ] || reason=$(mkdir -p -- "$folder" 2>&1) || fail "WEBROOT: $reason"
    # noclobber opens with O_EXCL: in a folder that others write to, a name that is already
    # there is not ours.
    set -C
    if [ ! -e "$file" ] && [ ! -L "$file" ] && write_validation "$file"; then
        return
    fi
    # Another order may have the same challenge: the CA sees the whole file at any time.
    trap 'rm -f -- "$temporary"' EXIT
    trap 'exit 1' HUP INT TERM
    write_validation "$temporary" || fail "WEBROOT: cannot write in $folder"
    reason=$(mv -f -- "$temporary" "$file" 2>&1) || fail "WEBROOT: $reason"
    trap - EXIT
}

# write_validation FILE
write_validation() {
    { printf '%s' "$CERTBOT_VALIDATION" >"$1"; } 2>/dev/null
}

remove_challenge_file() {
    reason=$(rm -f -- "$file" 2>&1) || fail "WEBROOT: $reason"
}

read_settings
CERTBOT_DOMAIN=${CERTBOT_DOMAIN:-}
CERTBOT_VALIDATION=${CERTBOT_VALIDATION:-}

if [ -n "${CERTBOT_TOKEN:-}" ]; then
    [ -n "${WEBROOT:-}" ] || fail "HTTP-01 needs WEBROOT"
    challenge=http-01
else
    [ -n "${ACMEZONE:-}" ] || fail "DNS-01 needs ACMEZONE (and HTTP-01 needs CERTBOT_TOKEN)"
    challenge=dns-01
fi

case $action:$challenge in
    add:http-01)
        challenge_file
        write_challenge_file
        ;;
    remove:http-01)
        challenge_file
        remove_challenge_file
        ;;
    add:dns-01) txt_record add ;;
    remove:dns-01) txt_record delete ;;
    *) fail "the one argument is add or remove" ;;
esac
