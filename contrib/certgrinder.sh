#!/bin/sh
#
# certgrinder.sh: keeps a key and a certificate chain of this machine fresh, with the help of
# certgrinderd on another one. For machines without Python: it needs ssh, openssl, and otherwise
# what POSIX says is there. `certgrinder.sh --help` is the manual.
#
# One run at a time works on a pair of files, under a lock. What it makes lies in .FILE.work until
# all of it is there and checked. Then that folder is renamed to .FILE.ready: from there on the new
# files win, and a run that finds this folder finishes what another one began, the reload command
# included.

set -euf

# Ranges like [a-z] mean ASCII, and openssl and ssh speak plainly.
LC_ALL=C
export LC_ALL
callers_umask=$(umask)
umask 077

usage() {
    cat <<'END'
usage: certgrinder.sh [OPTION]… NAME…
       certgrinder.sh --config FILE [OPTION]… [NAME]…

Gets a certificate for the names from certgrinderd, by ssh, when there is none yet, or less than 30
days are left, or it is not for these names and this key. Otherwise it does nothing and says
nothing: run it from cron, once or twice a day, at a minute of your own.

  --server USER@HOST   where certgrinderd is (must be given)
  --directory DIR      where the files are (the current one); nobody else may write there
  --file FILE          their name: FILE.key, mode 0600, and FILE.pem, the chain with this machine's
                       certificate first, mode 0644 (the first name, with _ for *)
  --key-type TYPE      ecdsa (P-256) or rsa (2048 bits); a key of the other type is replaced
                       (a key that is there stays; else ecdsa)
  --new-key            a new key with each new certificate
  --days DAYS          get a new one when less are left (30)
  --reload COMMAND     run by sh after the files were replaced, in their directory, with the paths in
                       CERTGRINDER_KEY and CERTGRINDER_CHAIN. When it fails, the next run tries it
                       again.
  --ca-file FILE       roots that the chain must lead to, like /etc/ssl/certs/ca-certificates.crt
                       (without it the chain must only hold together)
  --ssh-option OPTION  for ssh -o, like IdentityFile=/etc/certgrinder/id_ed25519 or Port=2222; may
                       be given more than once
  --timeout SECONDS    for the answer, and for the reload command (600)
  --force              get a new certificate, however long the old one lasts
  --staging            only try it: ask the CA for tests, check the answer, keep nothing
  --verbose            say what is done, and show the server's log
  --config FILE        read options from a file: one on each line, without the dashes, the value
                       after a blank; NAME, or several, is `name NAME…`; # begins a comment. What
                       comes later on the command line wins over it.
  --help               show this

Exit status:
  0    the certificate is good for DAYS days more, or a new one is in its place
  1    something failed on this machine: a full disk, a key that can't be read
  2    an option is wrong
  3    the server refuses: asking again will not help
  4    the server or the CA could not do it; what it said is on standard error
  5    not now: ssh did not get through, no answer in time, or another run is under way
  6    the answer is not right: no whole chain, or for another key, other names, less than DAYS days
  7    the new certificate is in its place, but the reload command failed
  128+ a signal
Unless it is 0 or 7 the files are as they were before. Nothing is ever replaced by half.
END
}

file=
complain() {
    printf 'certgrinder.sh: %s%s\n' "${file:+$file: }" "$1" >&2
}

# fail STATUS TEXT
fail() {
    complain "$2"
    exit "$1"
}

verbose=
say() {
    [ -z "$verbose" ] || printf 'certgrinder.sh: %s: %s\n' "$file" "$1"
}

# The options.

server=
directory=.
key_type=
new_key=
days=30
reload=
ca_file=
ssh_options=
timeout=600
force=
staging=
names=
newline='
'

is_flag() {
    case $1 in
        new-key | force | staging | verbose) return 0 ;;
    esac
    return 1
}

# set_flag NAME
set_flag() {
    case $1 in
        new-key) new_key=yes ;;
        force) force=yes ;;
        staging) staging=yes ;;
        verbose) verbose=yes ;;
    esac
}

# set_option NAME VALUE
set_option() {
    case $1 in
        server) server=$2 ;;
        directory) directory=$2 ;;
        file) file=$2 ;;
        key-type) key_type=$2 ;;
        days) days=$2 ;;
        reload) reload=$2 ;;
        ca-file) ca_file=$2 ;;
        ssh-option) ssh_options=$ssh_options$2$newline ;;
        timeout) timeout=$2 ;;
        name) names="$names $2" ;;
        *) fail 2 "there is no option $1" ;;
    esac
}

# read_config FILE
read_config() {
    [ -r "$1" ] || fail 2 "cannot read the file $1"
    while read -r option value || [ -n "$option" ]; do
        case $option in
            '' | '#'*) continue ;;
        esac
        if is_flag "$option"; then
            [ -z "$value" ] || fail 2 "$1: $option takes no value"
            set_flag "$option"
        else
            [ -n "$value" ] || fail 2 "$1: $option needs a value"
            set_option "$option" "$value"
        fi
    done <"$1"
}

read_arguments() {
    while [ $# -gt 0 ]; do
        word=$1
        shift
        case $word in
            --help)
                usage
                exit 0
                ;;
            --*=*)
                set -- "${word#*=}" "$@"
                word=${word%%=*}
                ! is_flag "${word#--}" || fail 2 "$word takes no value"
                ;;
            --*) ;;
            -*) fail 2 "there is no option $word; see certgrinder.sh --help" ;;
            *)
                set_option name "$word"
                continue
                ;;
        esac
        option=${word#--}
        if is_flag "$option"; then
            set_flag "$option"
            continue
        fi
        [ -n "${1-}" ] || fail 2 "$word needs a value"
        case $option in
            config) read_config "$1" ;;
            *) set_option "$option" "$1" ;;
        esac
        shift
    done
}

# require_number OPTION VALUE MOST
require_number() {
    case $2 in
        '' | *[!0-9]* | 0?* | ??????*) fail 2 "--$1 $2: not a number" ;;
    esac
    [ "$2" -le "$3" ] || fail 2 "--$1 $2: $3 at most"
}

# require_name NAME: a host name in ASCII, or a wildcard; the server knows which ones are ours.
require_name() {
    case ${1#'*.'} in
        *[!a-z0-9.-]*) fail 2 "$1: not a host name in ASCII (ACE form, like xn--plse-gra.example)" ;;
        '' | .* | *. | *..* | -* | *-.* | *.-* | *-) fail 2 "$1: not a host name" ;;
    esac
}

require_options() {
    # shellcheck disable=SC2086 # a list of words
    names=$(printf '%s\n' $names | tr '[:upper:]' '[:lower:]')
    [ -n "$names" ] || fail 2 'say which names; see certgrinder.sh --help'
    common_name=
    for name in $names; do
        require_name "$name"
        [ -n "$common_name" ] || [ "${#name}" -gt 64 ] || common_name=$name # RFC 5280, appendix A.1
        case $file in
            '') file=$(printf '%s\n' "$name" | tr '*' '_') ;;
        esac
    done
    case $file in
        *[!A-Za-z0-9._-]* | .* | -*) fail 2 "--file $file: letters, digits, dots, _ and - only" ;;
    esac
    case $server in
        '') fail 2 'say which --server' ;;
        -* | *[[:space:]]*) fail 2 "--server $server: not a host or USER@HOST" ;;
    esac
    case $key_type in
        '' | ecdsa | rsa) ;;
        *) fail 2 "--key-type $key_type: ecdsa or rsa" ;;
    esac
    require_number days "$days" 3650
    require_number timeout "$timeout" 36000
    [ -z "$ca_file" ] || [ -r "$ca_file" ] || fail 2 "--ca-file $ca_file: cannot be read"
    case $ca_file in
        '' | /*) ;;
        *) ca_file=$PWD/$ca_file ;;
    esac
}

# What others could change.

# require_own_directory: who can write where we do could put a link in the place of a file or folder
# of ours, so that root writes elsewhere, or make the key theirs. For root the same goes for the
# folders above. Access control lists are not looked at.
require_own_directory() {
    user=$(id -u)
    place=$(pwd -P)
    here=yes
    while [ -n "$place" ]; do
        # shellcheck disable=SC2012,SC2046 # POSIX has no stat; set -f is on
        set -- $(ls -ldn -- "$place") # mode, links, owner, group
        case ${3-} in
            0 | "$user") ;;
            *) fail 2 "--directory $directory: $place belongs to another user: chown it" ;;
        esac
        loose=
        case $1 in
            ????????w[tT]*) loose=$here ;; # like /tmp, where nobody replaces what is another's
            ????????w*) loose=yes ;;
            ?????w*) [ "$user" != 0 ] || [ "$4" = 0 ] || loose=$here ;;
        esac
        [ -z "$loose" ] ||
            fail 2 "--directory $directory: others can write to $place: chmod go-w"
        [ "$user" = 0 ] || return 0
        here=
        place=${place%/*}
    done
}

# One run at a time.

claim=
locked=
child=

# is_stale PROCESS: the process is gone; or the lock is a day old, which no run can be: since the
# machine started the number belongs to another one.
is_stale() {
    case $1 in
        '' | *[!0-9]*) return 0 ;;
    esac
    ! kill -0 "$1" 2>/dev/null || [ -n "$(find "$lock" -prune -mtime +0 2>/dev/null)" ]
}

# The lock is a second name of a file that holds the process ID: nobody ever sees it empty.
take_lock() {
    lock=.$file.lock
    work=.$file.work
    ready=.$file.ready
    claim=.$file.$$
    # set -C: not to where a link leads that waits there.
    rm -f "$claim" || fail 1 "cannot write in $directory"
    (set -C && printf '%s\n' "$$" >"$claim") || fail 1 "cannot write in $directory"
    if ! ln "$claim" "$lock" 2>/dev/null; then
        holder=$(cat "$lock" 2>/dev/null) || fail 1 "cannot make $directory/$lock"
        is_stale "$holder" ||
            fail 5 "another run is under way: process $holder has $directory/$lock"
        mv -f "$lock" "$claim.old" 2>/dev/null || fail 5 'another run has just begun'
        if [ "$(cat "$claim.old")" != "$holder" ]; then
            # Somebody else was faster, and this is the new lock.
            ln "$claim.old" "$lock" 2>/dev/null || :
            rm -f "$claim.old"
            fail 5 'another run has just begun'
        fi
        rm -f "$claim.old" ".$file.$holder"
        ln "$claim" "$lock" 2>/dev/null || fail 5 'another run has just begun'
    fi
    locked=yes
}

# clean_up STATUS
clean_up() {
    trap '' HUP INT TERM
    [ -z "$locked" ] || rm -rf "$work" "$lock"
    [ -z "$claim" ] || rm -f "$claim"
    exit "$1"
}

# interrupted NUMBER
interrupted() {
    trap '' HUP INT TERM
    [ -z "$child" ] || kill "$child" 2>/dev/null || :
    exit "$((128 + $1))"
}

watch_signals() {
    trap 'interrupted 1' HUP
    trap 'interrupted 2' INT
    trap 'interrupted 15' TERM
}

# attend PROCESS: wait for a child; set its status, and late if it had to be stopped.
attend() {
    child=$1
    late=
    # It looks by itself whether the child is gone: a signal to a shell that has only just begun may
    # be lost in the traps of the one above it. Its outputs are closed, as cron waits for whoever
    # has them.
    (
        seconds=0
        while [ "$seconds" -lt "$timeout" ]; do
            sleep 1
            kill -0 "$child" || exit 0
            seconds=$((seconds + 1))
        done
        : >"$work/late"
        kill "$child"
        sleep 5
        kill -KILL "$child"
    ) >/dev/null 2>&1 &
    watchdog=$!
    status=0
    wait "$child" || status=$?
    child=
    kill "$watchdog" 2>/dev/null || :
    [ ! -e "$work/late" ] || late=yes
    rm -f "$work/late"
}

# Keys and certificates.

# An encrypted key is an error, not a question to whoever sits at the terminal.
public_key() {
    openssl pkey -passin pass: -in "$1" -pubout 2>/dev/null
}

# certificate_names FILE: one dns:NAME per line, sorted; other kinds of names as openssl shows them.
certificate_names() {
    openssl x509 -in "$1" -noout -text 2>/dev/null |
        sed -n '/^ *X509v3 Subject Alternative Name:/{n;p;q;}' |
        tr ',[:upper:]' '\n[:lower:]' | sed 's/^ *//' | sort -u
}

# fits CERTIFICATE KEY: whether it is for our names and this key, and lasts; else wrong says why.
fits() {
    # shellcheck disable=SC2086 # a list of words
    wanted=$(printf 'dns:%s\n' $names | sort -u)
    if ! certified_key=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null); then
        wrong='it is no certificate'
    elif ! own_key=$(public_key "$2") || [ "$certified_key" != "$own_key" ]; then
        wrong='it is for another key'
    elif [ "$(certificate_names "$1")" != "$wanted" ]; then
        wrong='it is for other names'
    elif ! openssl x509 -in "$1" -noout -checkend "$((days * 86400))" >/dev/null 2>&1; then
        wrong="it is good for less than $days days"
    else
        return 0
    fi
    return 1
}

has_wanted_type() {
    case $key_type in
        '') return 0 ;;
        ecdsa) pattern='ASN1 OID' ;;
        rsa) pattern='[Mm]odulus:' ;;
    esac
    openssl pkey -passin pass: -in "$1" -noout -text_pub 2>/dev/null | grep -q "$pattern"
}

# choose_key: set key to the one for the request, and make it if there is none.
choose_key() {
    key=$file.key
    if [ -e "$key" ]; then
        public_key "$key" >/dev/null ||
            fail 1 "cannot read the key $directory/$key; remove it to get a new one"
        [ -z "$staging" ] || return 0
        [ -n "$new_key" ] || ! has_wanted_type "$key" || return 0
    fi
    key=$work/key
    case $key_type in
        rsa) set -- RSA -pkeyopt rsa_keygen_bits:2048 ;;
        *) set -- EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve ;;
    esac
    openssl genpkey -algorithm "$@" -out "$key" 2>"$work/said" || fail_with_said 1 'no new key'
}

# make_csr KEY: write the request for all names.
make_csr() {
    {
        printf '[req]\ndistinguished_name = dn\nreq_extensions = extensions\n[dn]\n[extensions]\n'
        printf 'subjectAltName = '
        # shellcheck disable=SC2086 # a list of words
        printf 'DNS:%s\n' $names | sort -u | paste -s -d , -
    } >"$work/openssl.conf" || fail 1 "cannot write in $directory"
    openssl req -new -config "$work/openssl.conf" -passin pass: -key "$1" -sha256 \
        -subj "/${common_name:+CN=$common_name}" -out "$work/csr" 2>"$work/said" ||
        fail_with_said 1 'no request'
}

# The question and the answer.

# show_said: what another program said: so many lines, and nothing that moves a terminal's cursor.
# That is ASCII alone: of the rest, U+0080 to U+009F are control characters too, and one is CSI.
show_said() {
    tr -d '\000-\010\013-\037\177-\377' <"$work/said" | tail -n 40 >&2
}

# fail_with_said STATUS TEXT
fail_with_said() {
    show_said
    fail "$1" "$2"
}

# ask: send the request; its answer is in $work/answer, and it ends the run if there is none.
ask() {
    set -- -T -a -x -o BatchMode=yes
    rest=$ssh_options
    while [ -n "$rest" ]; do
        set -- "$@" -o "${rest%%"$newline"*}"
        rest=${rest#*"$newline"}
    done
    # ssh takes the first value of an option: the caller's, and then these.
    set -- "$@" -o ConnectTimeout=20 -o ServerAliveInterval=20 -o ServerAliveCountMax=6
    set -- "$@" "$server" -- --log-level INFO ${staging:+--staging} get certificate
    (
        # 256 KiB (blocks of 512 bytes), in case the other end never stops.
        ulimit -f 512
        exec ssh "$@" <"$work/csr" >"$work/answer" 2>"$work/said"
    ) &
    attend "$!"
    size=$(cat "$work/answer" "$work/said" | wc -c) || fail 1 "cannot write in $directory"
    [ "$size" -lt 262144 ] || fail 6 "$server does not stop to talk: stopped after 256 KiB"
    [ -z "$late" ] || fail_with_said 5 "no answer from $server within $timeout seconds"
    case $status in
        0) [ -z "$verbose" ] || show_said ;;
        3) fail_with_said 3 "$server refuses the request" ;;
        5) fail_with_said 5 "$server can't do it now" ;;
        255) fail_with_said 5 "ssh $server failed" ;;
        *) fail_with_said 4 "$server ended with status $status" ;;
    esac
}

# reject TEXT
reject() {
    fail_with_said 6 "the answer is not right: $1"
}

# check_answer KEY: require a whole chain for our request, and write it to $work/chain.
check_answer() {
    # Text before the first certificate is not part of the answer.
    count=$(cd "$work" && awk '
        /^-----BEGIN CERTIFICATE-----/ { name = "sent." ++count }
        name { print >name }
        /^-----END CERTIFICATE-----/ { close(name); name = "" }
        END { print count + 0 }' answer) || fail 1 "cannot write in $directory"
    [ "$count" -gt 0 ] || reject 'there is no certificate in it'
    number=0
    while [ "$number" -lt "$count" ]; do
        number=$((number + 1))
        openssl x509 -in "$work/sent.$number" -out "$work/certificate.$number" 2>/dev/null ||
            reject "certificate $number of $count is broken"
        cat "$work/certificate.$number" >>"$work/chain" || fail 1 "cannot write in $directory"
        # By signature, time, and what a CA's certificate may do.
        [ "$number" = 1 ] || verify -partial_chain -CAfile "$work/certificate.$number" \
            "$work/certificate.$((number - 1))" ||
            reject "certificate $number is not the issuer of the one before it"
    done
    fits "$work/certificate.1" "$1" || reject "$wrong"
    if [ -n "$ca_file" ] && [ -z "$staging" ]; then
        verify -CAfile "$ca_file" -untrusted "$work/chain" "$work/certificate.1" ||
            reject "it does not lead to $ca_file"
    elif [ "$count" = 1 ]; then
        reject "the issuer's certificate is missing"
    fi
}

# verify WORD…: openssl verify, with no trust but what the words give: it would add the system's.
verify() {
    # A folder that cannot be there: about one that is none, openssl 3.0 has much to say.
    SSL_CERT_FILE=/dev/null SSL_CERT_DIR=/dev/null/none openssl verify "$@" >"$work/said" 2>&1 ||
        return 1
    : >"$work/said"
}

# Putting it in its place.

# replace_files: the same however often it is begun.
replace_files() {
    trap '' HUP INT TERM
    [ ! -e "$ready/key" ] || mv -f "$ready/key" "$file.key" || fail 1 "cannot replace $file.key"
    [ ! -e "$ready/chain" ] || mv -f "$ready/chain" "$file.pem" || fail 1 "cannot replace $file.pem"
    watch_signals
}

# keep_answer: from here on the new files win.
keep_answer() {
    chmod 644 "$work/chain" || fail 1 "cannot write in $directory"
    rm -rf "$ready"
    mv "$work" "$ready" || fail 1 "cannot write in $directory"
    replace_files
}

# run_reload: until it was successful once, the next run tries it again.
run_reload() {
    if [ -n "$reload" ]; then
        say "runs $reload"
        mkdir "$work" 2>/dev/null || :
        (
            umask "$callers_umask" # a daemon may inherit it
            CERTGRINDER_KEY=$PWD/$file.key CERTGRINDER_CHAIN=$PWD/$file.pem
            export CERTGRINDER_KEY CERTGRINDER_CHAIN
            exec sh -c "$reload"
        ) &
        attend "$!"
        [ -z "$late" ] || fail 7 "the reload command was stopped after $timeout seconds: $reload"
        [ "$status" = 0 ] || fail 7 "the reload command ended with status $status: $reload"
    fi
    rm -rf "$ready"
}

get_certificate() {
    rm -rf "$work"
    mkdir "$work" || fail 1 "cannot write in $directory"
    choose_key
    make_csr "$key"
    say "asks $server for $(printf '%s' "$names" | tr '\n' ' ')"
    ask
    check_answer "$key"
}

main() {
    trap 'clean_up "$?"' EXIT
    watch_signals
    read_arguments "$@"
    require_options
    [ -d "$directory" ] || (umask 022 && mkdir -p -- "$directory") || fail 1 "cannot make $directory"
    CDPATH='' cd -- "$directory" || fail 1 "cannot enter $directory"
    require_own_directory
    take_lock
    if [ -n "$staging" ]; then
        get_certificate
        printf 'certgrinder.sh: %s: the answer is right; nothing was changed\n' "$file"
        return
    fi
    [ ! -d "$ready" ] || replace_files
    if [ -z "$force" ] && fits "$file.pem" "$file.key" && has_wanted_type "$file.key"; then
        say "good for $days days more"
    else
        get_certificate
        keep_answer
        say 'has a new certificate'
    fi
    [ ! -d "$ready" ] || run_reload
}

main "$@"
