# shellcheck shell=bash
# Made by build/make_reference.py from the tables of the program; changes are lost.

_certgrinderd() {
    local current=${COMP_WORDS[COMP_CWORD]} option='' command='' words='' word index
    COMPREPLY=()
    # What stands before: the command, and an option that waits for its value.
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ -n $option ]]; then
            option=''
            continue
        fi
        case $word in
        --acme-ca-file | --acme-client-command | --acme-email | --acme-fallback-eab-hmac-key | --acme-fallback-eab-hmac-key-file | --acme-fallback-eab-kid | --acme-fallback-server-url | --acme-profile | --acme-server-url | --acme-zone | --allow-key-types | --auth-hook | --cache-dir | --certbot-command | --certbot-config-dir | --certbot-logs-dir | --certbot-work-dir | --certificate-file | --chain-length | --cleanup-hook | --client-acme-servers | --clients | --config-file | --crl-timeout | --csr-file | --domainsets | --domainsets-file | --eab-hmac-key | --eab-hmac-key-file | --eab-kid | --from | --hook-concurrency | --input-timeout | --issuance-timeout | --lock-timeout | --log-level | --max-crl-size | --max-input-size | --max-names | --ocsp-timeout | --pid-dir | --preferred-chain | --program | --replaces | --syslog-facility | --syslog-socket | --temp-dir | --user | --web-root | --with-config-file | -A | -C | -c | -f | -l | -p | -t | -w | -z) option=$word ;;
        acme-client | acmeaccount | authorized-keys | cache | certbot | certificate | check | configuration | crl | csr | get | help | install | licenses | ocsp | ping | renewal-info | show | sshd-config | sudoers | uninstall | version) command+=${command:+ }$word ;;
        esac
    done
    case $option in
    '') ;;
    --log-level)
        mapfile -t COMPREPLY < <(compgen -W 'DEBUG INFO WARNING ERROR CRITICAL' -- "$current")
        return
        ;;
    --acme-ca-file | --acme-fallback-eab-hmac-key-file | --cache-dir | --certbot-config-dir | --certbot-logs-dir | --certbot-work-dir | --certificate-file | --config-file | --csr-file | --domainsets-file | --eab-hmac-key-file | --pid-dir | --temp-dir | --web-root | -c | -f | -p | -t | -w)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    *) return ;;
    esac
    case $command in
    '') words='--acme-ca-file --acme-client-command --acme-email --acme-fallback-eab-hmac-key --acme-fallback-eab-hmac-key-file --acme-fallback-eab-kid --acme-fallback-server-url --acme-profile --acme-server-url -z --acme-zone --allow-key-types -A --auth-hook --cache-dir --certbot-command --certbot-config-dir --certbot-logs-dir --certbot-work-dir --certificate-file -C --cleanup-hook --chain-length --client-acme-servers -f -c --config-file --crl-timeout --csr-file -d --debug --domainsets --domainsets-file --eab-hmac-key --eab-hmac-key-file --eab-kid --hook-concurrency --input-timeout --issuance-timeout --lock-timeout -l --log-level --max-crl-size --max-input-size --max-names --ocsp-allow-private --ocsp-timeout -p --pid-dir --preferred-chain --replaces --skip-acme-server-cert-verify -s --staging --syslog-facility --syslog-socket -t --temp-dir -w --web-root --help --version --verbose check get show acme-client cache certbot help install ping uninstall version' ;;
    check) words=authorized-keys ;;
    get) words='certificate crl ocsp renewal-info' ;;
    show) words='acmeaccount authorized-keys certificate configuration csr licenses sshd-config sudoers' ;;
    'check authorized-keys') words=--user ;;
    'show authorized-keys') words='--domainsets --from --clients --environment --pass-words --program --with-config-file' ;;
    'show certificate') words=--check-revocation ;;
    'show sshd-config') words='--user --no-environment' ;;
    'show sudoers') words=--user ;;
    acme-client) words='--config-file --acme-server-url --chain-length --log-level --preferred-chain --replaces --staging --show-account' ;;
    cache) words='--prepare --clean' ;;
    install) words='--yes --sshd --sudo' ;;
    uninstall) words=--yes ;;
    esac
    case "$command $current" in
    *' -'*) ;;
    'check authorized-keys'' '* | 'show authorized-keys'' '*)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o filenames -F _certgrinderd certgrinderd certgrinderd.pyz
