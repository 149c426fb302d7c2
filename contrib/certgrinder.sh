#!/bin/sh
#
# certgrinder.sh: gets and renews this machine's certificate from certgrinderd on another machine.
# It needs ssh and openssl (OpenSSL 1.1, LibreSSL 2.8 or later), and otherwise only what POSIX has.
# `certgrinder.sh --help` is the manual.
#
# A lock lets one run at a time work on a pair of files. New files are made in .FILE.work. When they
# are complete and checked, that folder is renamed to .FILE.ready: from then on the new files win,
# and a run that finds .FILE.ready finishes the work of the run before it: the renames and the
# reload command. .FILE.renewal remembers when the CA wants the certificate to be renewed.

set -euf

# In this locale ranges like [a-z] are ASCII, and messages of other programs are in English.
LC_ALL=C
export LC_ALL
callers_umask=$(umask)
umask 077

usage() {
    cat <<'END'
usage: certgrinder.sh [OPTION]… NAME…
       certgrinder.sh --config FILE [OPTION]… [NAME]…

Gets a certificate for the names from certgrinderd, over ssh, when there is none yet, when it is due
for renewal, or when it is not for these names and this key. Otherwise it does nothing and prints
nothing. Run it from cron twice a day, at a minute of your own; hourly for certificates that last
less than two days.

A certificate is due when a third of its life is left (half of it, if it lives less than ten days),
or earlier when the CA says so (renewal information, RFC 9773; at most once a day).

  --server USER@HOST   where certgrinderd is (required)
  --directory DIR      where the files are (default: the current directory); nobody else may be able
                       to write there
  --file FILE          their name: FILE.key, mode 0600, and FILE.pem, mode 0644, the chain with this
                       machine's certificate first (default: the first name, with _ for *)
  --key-type TYPE      ecdsa (P-256) or rsa (2048 bits); a key of the other type is replaced
                       (default: the type of the existing key, else ecdsa)
  --new-key            make a new key for each new certificate
  --days DAYS          renew when less than DAYS days are left, instead of a third or a half of its
                       life; but not before a third of its life is over
  --no-renewal-info    do not ask when the CA wants the certificate to be renewed
  --check-revocation   in each run, ask whether the certificate is revoked, and replace it if it is;
                       its key too, if that is said to be compromised
  --reload COMMAND     run by sh in the directory after the files were replaced, with their paths in
                       CERTGRINDER_KEY and CERTGRINDER_CHAIN; if it fails, the next run tries again
  --ca-file FILE       roots that the chain must lead to, like /etc/ssl/certs/ca-certificates.crt
                       (default: only the signatures inside the chain are checked)
  --ssh PROGRAM        the ssh to run (default: ssh)
  --ssh-option OPTION  for ssh -o, like IdentityFile=/etc/certgrinder/id_ed25519 or Port=2222; may
                       be given more than once
  --timeout SECONDS    for the answer, and for the reload command (default: 600)
  --force              get a new certificate even if the old one is good
  --staging            only try it: ask the CA for tests, check the answer, keep nothing
  --verbose            say what is done, and show the server's log
  --config FILE        read options from a file: one per line, without the dashes, the value after a
                       blank; names are `name NAME…`; # begins a comment. What comes later on the
                       command line wins.
  --help               show this

Exit status:
  0    the certificate is good, or a new one is in its place
  1    something failed on this machine: a full disk, a key that can't be read
  2    an option is wrong
  3    the server refuses the request: asking again will not help
  4    the server or the CA failed; standard error says why
  5    try again later: ssh failed, there was no answer in time, or another run is at work
  6    the answer is wrong: the chain is incomplete, or the certificate is for another key, for
       other names, or already due for renewal
  7    the new certificate is in its place, but the reload command failed
  128+ a signal
Unless the status is 0 or 7, the files are as they were before.
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
days=
no_renewal_info=
check_revocation=
reload=
ca_file=
ssh=ssh
ssh_options=
timeout=600
force=
staging=
names=
newline='
'

# set_flag NAME: whether there is an option of that name without a value; then set it.
set_flag() {
    case $1 in
        new-key) new_key=yes ;;
        no-renewal-info) no_renewal_info=yes ;;
        check-revocation) check_revocation=yes ;;
        force) force=yes ;;
        staging) staging=yes ;;
        verbose) verbose=yes ;;
        *) return 1 ;;
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
        ssh) ssh=$2 ;;
        ssh-option) ssh_options=$ssh_options$2$newline ;;
        timeout) timeout=$2 ;;
        name) names="$names $2" ;;
        *) fail 2 "there is no option $1" ;;
    esac
}

# read_config FILE
read_config() {
    [ -r "$1" ] || fail 2 "can't read the file $1"
    while read -r option value || [ -n "$option" ]; do
        case $option in
            '' | '#'*) continue ;;
        esac
        if set_flag "$option"; then
            [ -z "$value" ] || fail 2 "$1: $option takes no value"
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
                ! set_flag "${word#--}" || fail 2 "$word takes no value"
                ;;
            --*) ! set_flag "${word#--}" || continue ;;
            -*) fail 2 "there is no option $word; see certgrinder.sh --help" ;;
            *)
                set_option name "$word"
                continue
                ;;
        esac
        option=${word#--}
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

# require_name NAME: require a host name in ASCII, or a wildcard. Whose it is, the server knows.
require_name() {
    case ${1#'*.'} in
        *,*) fail 2 "$1: separate the names by blanks, not by commas" ;;
        *[!a-z0-9.-]*) fail 2 "$1: not a host name in ASCII (ACE form, like xn--plse-gra.example)" ;;
        '' | .* | *. | *..* | -* | *-.* | *.-* | *-) fail 2 "$1: not a host name" ;;
    esac
}

require_options() {
    # shellcheck disable=SC2086 # a list of words
    names=$(printf '%s\n' $names | tr '[:upper:]' '[:lower:]')
    [ -n "$names" ] || fail 2 'no name is given; see certgrinder.sh --help'
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
        '') fail 2 '--server is missing; see certgrinder.sh --help' ;;
        -* | *[[:space:]]*) fail 2 "--server $server: not a host or USER@HOST" ;;
    esac
    case $key_type in
        '' | ecdsa | rsa) ;;
        *) fail 2 "--key-type $key_type: ecdsa or rsa" ;;
    esac
    [ -z "$days" ] || require_number days "$days" 3650
    require_number timeout "$timeout" 36000
    [ -z "$ca_file" ] || [ -r "$ca_file" ] || fail 2 "--ca-file $ca_file: can't be read"
    case $ca_file in
        '' | /*) ;;
        *) ca_file=$PWD/$ca_file ;;
    esac
    case $ssh in
        -*) fail 2 "--ssh $ssh: not a program" ;;
        /*) ;;
        */*) ssh=$PWD/$ssh ;;
    esac
    command -v "$ssh" >/dev/null || fail 2 "--ssh $ssh: there is no such program"
    command -v openssl >/dev/null || fail 1 'openssl is not installed'
}

# Who else can write here?

# require_own_directory: whoever can write to the directory could take the key, or put a link in the
# place of a file of ours, so that root writes elsewhere. For root this holds for the folders above
# as well. Access control lists are not checked.
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
        case $1 in
            ????????w[tT]*) # like /tmp: files of others can't be replaced, but anyone can add one
                [ -z "$here" ] ||
                    fail 2 "--directory $directory: all can write to $place: choose another one"
                ;;
            ????????w*) fail_loose "$place" ;;
            ?????w*) [ "$user" != 0 ] || [ "$4" = 0 ] || fail_loose "$place" ;;
        esac
        [ "$user" = 0 ] || return 0
        here=
        place=${place%/*}
    done
}

# fail_loose FOLDER
fail_loose() {
    fail 2 "--directory $directory: others can write to $1: chmod go-w, or choose another one"
}

# One run at a time.

claim=
locked=
child=

# is_stale PROCESS: whether the process is gone, or the lock is older than a day. No run takes that
# long: then the number belongs to another process, perhaps since a reboot.
is_stale() {
    case $1 in
        '' | *[!0-9]*) return 0 ;;
    esac
    ! kill -0 "$1" 2>/dev/null || [ -n "$(find "$lock" -prune -mtime +0 2>/dev/null)" ]
}

# take_lock: the lock is a hard link to a file with the process ID in it, so nobody ever sees it
# empty.
take_lock() {
    lock=.$file.lock
    work=.$file.work
    ready=.$file.ready
    memory=.$file.renewal
    claim=.$file.$$
    # set -C: do not follow a link that somebody put there.
    rm -f "$claim" || fail 1 "can't write in $directory"
    (set -C && printf '%s\n' "$$" >"$claim") || fail 1 "can't write in $directory"
    if ! ln "$claim" "$lock" 2>/dev/null; then
        holder=$(cat "$lock" 2>/dev/null) || fail 1 "can't make $directory/$lock"
        is_stale "$holder" ||
            fail 5 "another run is under way: process $holder has $directory/$lock"
        mv -f "$lock" "$claim.old" 2>/dev/null || fail 5 'another run has just begun'
        if [ "$(cat "$claim.old")" != "$holder" ]; then
            # Another run was faster, and what we moved away is its lock.
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

# attend PROCESS: wait for a child; set status, and late if it had to be stopped.
attend() {
    child=$1
    late=
    # The watchdog looks for itself whether the child is gone: a signal to a shell that has only
    # just started may be lost. Its outputs are closed, since cron waits for whoever has them.
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

# begin_work: an empty folder for the files of this run.
begin_work() {
    rm -rf "$work"
    mkdir "$work" || fail 1 "can't write in $directory"
}

# Times are seconds since 1970. awk computes with them: `date` has no portable option that reads a
# date, and in some shells numbers have 32 bits.

now() {
    date +%s
}

# seconds(DIGITS): of YYYYMMDDHHMMSS in UTC.
# shellcheck disable=SC2016 # these are awk's $
awk_seconds='
function seconds(digits,    year, month, days) {
    year = substr(digits, 1, 4)
    month = substr(digits, 5, 2) - 3 # a year that begins in March ends with the leap day
    if (month < 0) { month += 12; year-- }
    days = 365 * year + int(year / 4) - int(year / 100) + int(year / 400)
    days += int((153 * month + 2) / 5) + substr(digits, 7, 2) - 719469
    return (24 * days + substr(digits, 9, 2)) * 3600 + 60 * substr(digits, 11, 2) \
        + substr(digits, 13, 2)
}
'

# is_true EXPRESSION: of awk, with now.
is_true() {
    awk -v now="$(now)" "BEGIN { exit !($1) }"
}

# Keys and certificates.

# An encrypted key is an error, not a question to whoever sits at the terminal.
public_key() {
    openssl pkey -passin pass: -in "$1" -pubout 2>/dev/null
}

# What is in a certificate is read from its DER. The text that openssl prints will not do: a comment
# in a certificate can look like any line of it, and LibreSSL has no `x509 -ext`.
#
# Input: the bytes in hexadecimal. Variables: now, and days (of --days, or empty). Output: facts, one
# per line. "name" is an alternative name ("?" if it is no host name), "state" one of early (not valid
# yet), good, due (for renewal) and over (expired), "left" the time that is left. "algorithm" is the
# OID of the signature's; what is signed and the signature begin at the offsets "signed" and
# "signature".
# shellcheck disable=SC2016 # these are awk's $
awk_certificate='
# element(AT, END): read a tag and a length. Sets tag, inside (where the content begins) and after.
function element(at, end,    count, size) {
    if (at + 2 > end) exit 1
    tag = byte[at]; size = byte[at + 1]; inside = at + 2
    if (size > 127) {
        count = size - 128
        if (count < 1 || count > 3 || inside + count > end) exit 1
        for (size = 0; count > 0; count--) size = size * 256 + byte[inside++]
    }
    after = inside + size
    if (after > end) exit 1
}
function hexadecimal(at, end,    text) {
    for (; at < end; at++) text = text sprintf("%02x", byte[at])
    return text
}
# characters(AT, END): "?" if one is no visible ASCII.
function characters(at, end,    text) {
    for (; at < end; at++) {
        if (byte[at] < 33 || byte[at] > 126) return "?"
        text = text sprintf("%c", byte[at])
    }
    return text
}
# read_time(AT): UTCTime (tag 23) or GeneralizedTime, RFC 5280 section 4.1.2.5.
function read_time(at,    text) {
    element(at, total)
    text = characters(inside, after)
    if (tag == 23) text = (substr(text, 1, 2) + 0 < 50 ? "20" : "19") text
    if (length(text) != 15 || text !~ /^[0-9]+Z$/) exit 1
    return seconds(text)
}
function judge(begins, ends,    life, left, limit, state, unit) {
    life = ends - begins + 1 # the last second counts
    left = ends + 1 - now
    limit = life / (life < 864000 ? 2 : 3)
    if (days != "") limit = 86400 * days < life * 2 / 3 ? 86400 * days : life * 2 / 3
    state = now < begins ? "early" : left <= 0 ? "over" : left <= limit ? "due" : "good"
    unit = life < 864000 ? 3600 : 86400
    print "state", state
    printf "left %d of %d ", (left < 0 ? 0 : left / unit), life / unit
    print (unit == 3600 ? "hours" : "days")
}
function show_names(at, end,    text) {
    element(at, end) # SEQUENCE
    for (at = inside; at < end; at = after) {
        element(at, end)
        text = characters(inside, after)
        print "name", (tag == 130 ? tolower(text) : "?") # [2]: dNSName
    }
}
function show_extensions(at, end,    next_at, value) {
    element(at, end) # SEQUENCE
    for (at = inside; at < end; at = next_at) {
        element(at, end)
        next_at = after
        element(inside, next_at)
        if (hexadecimal(inside, after) != "551d11") continue # subjectAltName
        element(after, next_at)
        if (tag == 1) element(after, next_at) # whether it is critical
        show_names(inside, after)
    }
}
BEGIN { digits = "0123456789abcdef" }
{
    for (i = 1; i <= NF; i++)
        byte[total++] = 16 * index(digits, substr($i, 1, 1)) + index(digits, substr($i, 2, 1)) - 17
}
END {
    element(0, total + 0)
    print "signed", inside
    at = inside; element(at, total); end = after
    element(end, total); at_signature = after; element(inside, after)
    print "algorithm", hexadecimal(inside, after)
    print "signature", at_signature
    element(at, total); at = inside
    element(at, end); if (tag == 160) at = after # [0]: version
    for (field = 1; at < end; field++) { # RFC 5280 section 4.1
        element(at, end); next_at = after
        if (field == 4) { begins = read_time(inside); judge(begins, read_time(after)) }
        if (tag == 163) show_extensions(inside, after) # [3]
        at = next_at
    }
}
'

# read_certificate FILE [DAYS]: set facts.
read_certificate() {
    facts=$(openssl x509 -in "$1" -outform DER 2>/dev/null | od -An -v -tx1 |
        awk -v days="${2-}" -v now="$(now)" "$awk_seconds$awk_certificate")
}

# fact NAME: print the values of that name.
fact() {
    printf '%s\n' "$facts" | sed -n "s/^$1 //p"
}

# fits CERTIFICATE KEY [DAYS]: whether it is for our names and this key; sets wrong, or state and
# left.
fits() {
    # shellcheck disable=SC2086 # a list of words
    wanted=$(printf '%s\n' $names | sort -u)
    if ! read_certificate "$1" "${3-}"; then
        wrong='it is no certificate'
    elif ! certified_key=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) ||
        ! own_key=$(public_key "$2") || [ "$certified_key" != "$own_key" ]; then
        wrong='it is for another key'
    elif [ "$(fact name | sort -u)" != "$wanted" ]; then
        wrong='it is for other names'
    else
        state=$(fact state)
        left=$(fact left)
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
            fail 1 "can't read the key $directory/$key; remove it to get a new one"
        [ -z "$staging" ] || return 0
        [ -n "$new_key" ] || ! has_wanted_type "$key" || return 0
    fi
    key=$work/key
    case $key_type in
        rsa) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$key" ;;
        # Not every LibreSSL can have genpkey name the curve in the key.
        *) openssl ecparam -name prime256v1 -genkey -noout -out "$work/ec" &&
            openssl pkey -in "$work/ec" -out "$key" ;;
    esac 2>"$work/said" || fail_with_said 1 'no new key'
}

# make_csr KEY: write the CSR for all names.
make_csr() {
    {
        printf '[req]\ndistinguished_name = dn\nreq_extensions = extensions\n[dn]\n[extensions]\n'
        printf 'subjectAltName = '
        # shellcheck disable=SC2086 # a list of words
        printf 'DNS:%s\n' $names | sort -u | paste -s -d , -
    } >"$work/openssl.conf" || fail 1 "can't write in $directory"
    openssl req -new -config "$work/openssl.conf" -passin pass: -key "$1" -sha256 \
        -subj "/${common_name:+CN=$common_name}" -out "$work/csr" 2>"$work/said" ||
        fail_with_said 1 'no CSR'
}

# Talking with the server.

# show_said: print what another program said: 40 lines at most, and nothing but ASCII text. Other
# control characters, which U+0080 to U+009F are too, could move the terminal's cursor.
show_said() {
    tr -d '\000-\010\013-\037\177-\377' <"$work/said" | tail -n 40 >&2
}

# fail_with_said STATUS TEXT
fail_with_said() {
    show_said
    fail "$1" "$2"
}

# ask INPUT COMMAND: the answer is in $work/answer, and the log in $work/said; sets status and late.
ask() {
    input=$1 command=$2
    set -- -T -a -x -o BatchMode=yes
    rest=$ssh_options
    while [ -n "$rest" ]; do
        set -- "$@" -o "${rest%%"$newline"*}"
        rest=${rest#*"$newline"}
    done
    # Of several values for an option ssh takes the first: the caller's, then these.
    set -- "$@" -o ConnectTimeout=20 -o ServerAliveInterval=20 -o ServerAliveCountMax=6
    set -- "$@" "$server" -- "--log-level INFO $command"
    (
        # 256 KiB (blocks of 512 bytes), in case the other side never stops.
        ulimit -f 512
        exec "$ssh" "$@" <"$input" >"$work/answer" 2>"$work/said"
    ) &
    attend "$!"
    [ -z "$verbose" ] || [ "$status" != 0 ] || show_said
}

# ask_certificate: send the CSR; end the run if there is no answer.
ask_certificate() {
    ask "$work/csr" \
        "${staging:+--staging }${replaces:+--replaces=$replaces }get certificate"
    size=$(cat "$work/answer" "$work/said" | wc -c) || fail 1 "can't write in $directory"
    [ "$size" -lt 262144 ] || fail 6 "$server sends too much: stopped after 256 KiB"
    [ -z "$late" ] || fail_with_said 5 "no answer from $server within $timeout seconds"
    case $status in
        0) ;;
        3) fail_with_said 3 "$server refuses the request" ;;
        5) fail_with_said 5 "$server can't do it now" ;;
        255) fail_with_said 5 "ssh $server failed" ;;
        *) fail_with_said 4 "$server ended with status $status" ;;
    esac
}

# When the CA wants the certificate to be renewed (RFC 9773).

# Input: the answer of `get renewal-info`. Variables: now; mark; renew_at and replaces, if there is
# no answer. Output: the mark, when to ask again, when to renew, and the ID of the certificate.
# shellcheck disable=SC2016 # these are awk's $
awk_renewal='
# read_time(TEXT): RFC 3339; "" if it is none.
function read_time(text,    zone, shift) {
    zone = substr(text, 20)
    sub(/^\.[0-9]+/, "", zone)
    if (zone !~ /^(Z|[+-][0-9][0-9]:[0-9][0-9])$/) return ""
    shift = 3600 * substr(zone, 2, 2) + 60 * substr(zone, 5, 2)
    text = substr(text, 1, 19)
    gsub(/[-T:]/, "", text)
    if (length(text) != 14 || text !~ /^[0-9]+$/) return ""
    return seconds(text) - (zone ~ /^-/ ? -shift : shift)
}
BEGIN { digits = "123456789ABCDEF" }
$1 == "certificate-id:" && $2 ~ /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/ { id = $2 }
$1 == "suggested-window-start:" { first = read_time($2) }
$1 == "suggested-window-end:" { last = read_time($2) }
$1 == "retry-after:" && $2 ~ /^[0-9]+$/ { pause = $2 }
END {
    if (id != "" && length(id) < 200 && first != "" && last != "" && first <= last) {
        # Another moment of the window for each certificate, but always the same for this one.
        share = index(digits, substr(mark, 1, 1)) + index(digits, substr(mark, 2, 1)) / 16
        renew_at = first + (last - first) * share / 16
        replaces = id
    }
    if (pause == "") pause = 21600
    pause = pause < 60 ? 60 : pause > 86400 ? 86400 : pause
    printf "%s %.0f %.0f %s\n", mark, now + pause, renew_at, replaces
}
'

# recall_renewal_info: set ask_again, renew_at (0: unknown) and replaces for this certificate.
recall_renewal_info() {
    mark=$(openssl x509 -in "$file.pem" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g')
    known='' ask_again=0 renew_at=0 replaces=''
    [ ! -e "$memory" ] || read -r known ask_again renew_at replaces <"$memory" || :
    case $ask_again,$renew_at in
        *[!0-9,]* | ,* | *,) known= ;;
    esac
    [ "$known" = "$mark" ] || ask_again=0 renew_at=0 replaces=''
}

# update_renewal_info: ask again if it is time. Without an answer the next try is in six hours.
update_renewal_info() {
    # A time further away than a day was written by a wrong clock.
    is_true "$ask_again <= now || $ask_again > now + 86400" || return 0
    say "asks $server when the CA wants it to be renewed"
    begin_work
    ask "$file.pem" 'get renewal-info'
    if [ "$status" != 0 ]; then
        [ -z "$verbose" ] || show_said
        : >"$work/answer"
    fi
    awk -v now="$(now)" -v mark="$mark" -v renew_at="$renew_at" -v replaces="$replaces" \
        "$awk_seconds$awk_renewal" "$work/answer" >"$work/renewal" ||
        fail 1 "can't write in $directory"
    mv -f "$work/renewal" "$memory" || fail 1 "can't write in $directory"
    recall_renewal_info
}

# is_wanted_by_ca: once a day at most, in case the CA says "now" to every certificate.
is_wanted_by_ca() {
    is_true "0 < $renew_at && $renew_at <= now" && [ -n "$(find "$file.pem" -prune -mtime +0)" ]
}

# is_revoked: whether the CA says so. Without an answer it counts as good.
is_revoked() {
    begin_work
    ask "$file.pem" 'show certificate --check-revocation'
    if [ "$status" != 0 ]; then
        show_said
        complain "can't find out whether the certificate is revoked"
        return 1
    fi
    # What comes before that line is what is in the certificate.
    found=$(sed -n '/^Revocation of certificate 1$/,$p' "$work/answer" |
        grep -E '^(OCSP|CRL): *revoked') || return 1
    case $found in
        *keyCompromise*) new_key=yes ;;
    esac
}

# The decision, and what comes of it.

# needs_certificate: whether to get one; sets why, and replaces for a renewal.
needs_certificate() {
    replaces=
    if [ ! -e "$file.pem" ]; then
        why='there is no certificate yet'
    elif ! fits "$file.pem" "$file.key" "$days"; then
        why="the certificate doesn't fit: $wrong"
    elif ! has_wanted_type "$file.key"; then
        why='the key is of the other type'
    else
        [ -n "$no_renewal_info" ] || recall_renewal_info
        needs_renewal
    fi
}

needs_renewal() {
    if [ -n "$force" ]; then
        why='because of --force'
    elif [ "$state" = due ] || [ "$state" = over ]; then
        why="$left are left"
    elif [ -z "$no_renewal_info" ] && update_renewal_info && is_wanted_by_ca; then
        why='the CA wants it to be renewed'
    elif [ -n "$check_revocation" ] && is_revoked; then
        why='the certificate is revoked'
    else
        say "the certificate is good: $left are left"
        return 1
    fi
}

# reject TEXT
reject() {
    fail_with_said 6 "the answer is wrong: $1"
}

# check_answer KEY: require a whole chain for our CSR, and write it to $work/chain.
check_answer() {
    # Text before the first certificate is not part of the answer.
    count=$(cd "$work" && awk '
        /^-----BEGIN CERTIFICATE-----/ { name = "sent." ++count }
        name { print >name }
        /^-----END CERTIFICATE-----/ { close(name); name = "" }
        END { print count + 0 }' answer) || fail 1 "can't write in $directory"
    [ "$count" -gt 0 ] || reject 'there is no certificate in it'
    number=0
    while [ "$number" -lt "$count" ]; do
        number=$((number + 1))
        openssl x509 -in "$work/sent.$number" -out "$work/certificate.$number" 2>/dev/null ||
            reject "certificate $number of $count is broken"
        cat "$work/certificate.$number" >>"$work/chain" || fail 1 "can't write in $directory"
    done
    check_leaf "$1"
    while [ "$number" -gt 1 ]; do
        is_issuer "$work/certificate.$number" "$work/certificate.$((number - 1))" ||
            reject "certificate $number is not the issuer of the one before it"
        number=$((number - 1))
    done
    if [ -n "$ca_file" ] && [ -z "$staging" ]; then
        verify -CAfile "$ca_file" -untrusted "$work/chain" "$work/certificate.1" ||
            reject "it does not lead to $ca_file"
    elif [ "$count" = 1 ]; then
        reject "the issuer's certificate is missing"
    fi
}

# check_leaf KEY: the first certificate, by its own life: --days may ask for more than the CA gives.
check_leaf() {
    fits "$work/certificate.1" "$1" || reject "$wrong"
    case $state in
        early) reject "it is not valid yet; is this machine's clock right?" ;;
        over) reject 'it has expired' ;;
        due) reject "it is due for renewal already: $left are left" ;;
    esac
}

# verify WORD…: openssl verify, without trust in the system's roots.
verify() {
    mkdir -p "$work/nothing"
    SSL_CERT_FILE=/dev/null SSL_CERT_DIR=$work/nothing openssl verify -CApath "$work/nothing" "$@" \
        >"$work/said" 2>&1 || return 1
    # LibreSSL before 3.3 says OK after some errors, like that a certificate has expired.
    ! grep -q '^error [0-9]' "$work/said" || return 1
    : >"$work/said"
}

# is_issuer ISSUER CERTIFICATE: by signature, time, and whether it may issue certificates.
is_issuer() {
    if openssl verify -help 2>&1 | grep partial_chain >/dev/null; then
        verify -partial_chain -CAfile "$1" "$2"
    else
        has_signed "$1" "$2"
    fi
}

# has_signed ISSUER CERTIFICATE: the same for LibreSSL, whose verify always wants a root. It knows
# the signatures of public CAs: RSA (PKCS #1) and ECDSA with SHA-2. Path lengths are not checked.
has_signed() {
    read_certificate "$2" || return 1
    case $(fact algorithm) in
        2a864886f70d01010b | 2a8648ce3d040302) digest=sha256 ;;
        2a864886f70d01010c | 2a8648ce3d040303) digest=sha384 ;;
        2a864886f70d01010d | 2a8648ce3d040304) digest=sha512 ;;
        *) return 1 ;;
    esac
    {
        openssl asn1parse -in "$2" -noout -strparse "$(fact signed)" -out "$work/signed" &&
            openssl asn1parse -in "$2" -noout -strparse "$(fact signature)" \
                -out "$work/signature" &&
            openssl x509 -in "$1" -noout -pubkey >"$work/signer" &&
            openssl dgst "-$digest" -verify "$work/signer" -signature "$work/signature" \
                "$work/signed" >&2 &&
            [ "$(openssl x509 -in "$1" -noout -subject_hash)" = \
                "$(openssl x509 -in "$2" -noout -issuer_hash)" ] &&
            openssl x509 -in "$1" -noout -purpose | grep '^SSL server CA : Yes$' >&2 &&
            read_certificate "$1"
    } 2>/dev/null || return 1
    case $(fact state) in
        early | over) return 1 ;;
    esac
}

# Putting the files in their place.

# replace_files: it may be interrupted and run again.
replace_files() {
    trap '' HUP INT TERM
    [ ! -e "$ready/key" ] || mv -f "$ready/key" "$file.key" || fail 1 "can't replace $file.key"
    [ ! -e "$ready/chain" ] || mv -f "$ready/chain" "$file.pem" || fail 1 "can't replace $file.pem"
    watch_signals
}

# keep_answer: from here on the new files win.
keep_answer() {
    chmod 644 "$work/chain" || fail 1 "can't write in $directory"
    rm -rf "$ready"
    mv "$work" "$ready" || fail 1 "can't write in $directory"
    replace_files
}

# run_reload: .FILE.ready stays until the command succeeds, so that the next run tries it again.
run_reload() {
    if [ -n "$reload" ]; then
        say "runs the reload command: $reload"
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
    begin_work
    choose_key
    make_csr "$key"
    say "asks $server for $(printf '%s' "$names" | tr '\n' ' ')"
    ask_certificate
    check_answer "$key"
}

main() {
    trap 'clean_up "$?"' EXIT
    watch_signals
    read_arguments "$@"
    require_options
    [ -d "$directory" ] || (umask 022 && mkdir -p -- "$directory") || fail 1 "can't make $directory"
    CDPATH='' cd -- "$directory" || fail 1 "can't enter $directory"
    require_own_directory
    take_lock
    if [ -n "$staging" ]; then
        replaces=
        get_certificate
        printf 'certgrinder.sh: %s: the answer is right; nothing was changed\n' "$file"
        return
    fi
    [ ! -d "$ready" ] || replace_files
    if needs_certificate; then
        say "needs a new certificate: $why"
        get_certificate
        keep_answer
        say 'has a new certificate'
    fi
    [ ! -d "$ready" ] || run_reload
}

main "$@"
