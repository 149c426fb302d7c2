# ruff: noqa: S108 - paths in a host of its own, and words in command lines
"""Certbot as root by a real sudo: the request works, and the same user can do nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from certgrinderd.issuance import certbot
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.settings.table import Settings
from certgrinderd.setup.sudo.rule import LONGEST_EXPRESSION
from tests.testbed.csr import make_csr
from tests.testbed.host import Host
from tests.testbed.named import Named
from tests.testbed.pebble import Pebble
from tests.testbed.server import find_program, wait_until

ROOT = Path(__file__).resolve().parents[2]
USER = "certgrinderd"
PYZ = "/usr/local/bin/certgrinderd.pyz"
CERTBOT = "/usr/local/bin/certbot"
WRAPPER = "/usr/local/sbin/certgrinderd-certbot"
CONFIGURATION = "/etc/certgrinderd/certgrinderd.conf"
RULE = "/etc/sudoers.d/certgrinderd"
CALLS = "/run/certbot-calls"
HOOK = "/usr/local/bin/hooks/manual-auth-hook.sh"
CLEANUP_HOOK = "/usr/local/bin/hooks/manual-cleanup-hook.sh"
FOLDER = "/tmp/certgrinderd-0123456789abcdef"

# Stands for /usr/bin/certbot: writes down that it was called, and with what; then it is the one
# inside certgrinderd. What trusts the CA of the tests is the system's on a real host.
_CERTBOT = f"""\
#!/bin/sh
{{ env; umask; printf 'word: %s\\n' "$@"; }} >>{CALLS}
[ ! -e /run/only-write-down ] || exit 0
exec env REQUESTS_CA_BUNDLE=/etc/ca.pem {PYZ} certbot "$@"
"""


class Installation:
    """A host with certgrinderd, its user, and a Certbot that only root may run.

    Attributes:
        host: The host.
        settings: What is usual in its configuration.
        way: How sudo is set up at the moment: "pinned", "wrapped" or otherwise.
    """

    def __init__(self, host: Host, pyz: Path, pebble: Pebble, named: Named) -> None:
        self.host = host
        self.way = ""
        self.settings: dict[str, object] = {
            "acme-server-url": pebble.directory_url,
            "acme-email": "admin@example.test",
            "acme-zone": named.zone,
            "certbot-command": f"/usr/bin/sudo -n {CERTBOT}",
        }
        host.add_user(USER)
        host.write(PYZ, pyz.read_bytes(), mode=0o755)
        host.write(CERTBOT, _CERTBOT, mode=0o755)
        host.write("/etc/ca.pem", pebble.ca_file.read_bytes())
        host.write("/etc/certgrinderd/challenge.key", named.key_file.read_bytes(), mode=0o600)
        host.write(
            "/etc/certgrinderd/hooks.conf",
            "CERTGRINDERD_NSUPDATE_KEY=/etc/certgrinderd/challenge.key\n"
            f"CERTGRINDERD_NSUPDATE_PORT={named.port}\n",
        )
        for hook in (HOOK, CLEANUP_HOOK):
            host.write(hook, (ROOT / "hooks" / Path(hook).name).read_bytes(), mode=0o755)
        self.configure()

    def configure(self, **settings: object) -> None:
        """Write the configuration, with these instead of what is usual."""
        self.way = ""
        given = {**self.settings, **{k.replace("_", "-"): v for k, v in settings.items()}}
        self.host.write(CONFIGURATION, yaml.safe_dump(given))

    def show_sudoers(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run `show sudoers` as root."""
        return self.host.run([PYZ, "--config-file", CONFIGURATION, "show", "sudoers", *words])

    def allow(self, rule: str) -> None:
        """Install a rule, if visudo takes it."""
        self.host.write("/run/rule", rule)
        self.host.check(["visudo", "-c", "-f", "/run/rule"])
        self.host.write(RULE, rule, mode=0o440)

    def request(
        self, csr: bytes, domainsets: str, *words: str
    ) -> subprocess.CompletedProcess[bytes]:
        """What sshd starts when a client asks for a certificate."""
        words = words or ("get", "certificate")
        variables = {"SSH_ORIGINAL_COMMAND": " ".join(words), "CERTGRINDERD_DOMAINSETS": domainsets}
        command = [PYZ, "--config-file", CONFIGURATION]
        return self.host.run(command, user=USER, stdin=csr, env=variables)

    def sudo(self, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        """What the user could do with sudo; Certbot only writes down that it was called."""
        self.host.check(["rm", "-f", CALLS])
        self.host.write("/run/only-write-down", "")
        try:
            return self.host.run(["sudo", "-n", *words], user=USER, env=env)
        finally:
            self.host.check(["rm", "/run/only-write-down"])

    def calls(self) -> str:
        """What Certbot has written down since the last sudo(); empty if it was not called."""
        return self.host.check(["sh", "-c", f"cat {CALLS} 2>/dev/null || :"])


@pytest.fixture(scope="module")
def installation(host: Host, pyz: Path, calm_pebble: Pebble, named: Named) -> Installation:
    """An installation without a rule yet."""
    find_program("sudo")
    return Installation(host, pyz, calm_pebble, named)


@pytest.fixture
def pinned(installation: Installation) -> Installation:
    """With the rule that `show sudoers` prints."""
    if installation.way != "pinned":
        installation.configure()
        shown = installation.show_sudoers()
        assert shown.returncode == 0, shown.stderr
        installation.allow(shown.stdout.decode())
        installation.way = "pinned"
    return installation


@pytest.fixture
def wrapped(installation: Installation) -> Installation:
    """With the wrapper for an older sudo, and the rule that the wrapper needs."""
    if installation.way != "wrapped":
        host, settings = installation.host, installation.settings
        host.write(WRAPPER, (ROOT / "contrib" / "certgrinderd-certbot").read_bytes(), mode=0o755)
        installation.configure(certbot_command=f"/usr/bin/sudo -n {WRAPPER}")
        host.write(
            "/etc/certgrinderd/certbot-wrapper.conf",
            f"CERTBOT={CERTBOT}\nAUTH_HOOK={HOOK}\nCLEANUP_HOOK={CLEANUP_HOOK}\n"
            f"SERVERS='{settings['acme-server-url']}'\nEMAIL={settings['acme-email']}\n"
            f"ACMEZONE={settings['acme-zone']}\n",
        )
        rule = f"{USER} ALL=(root) NOPASSWD: {WRAPPER}\nDefaults:{USER} umask=0022\n"
        installation.allow(rule)
        installation.way = "wrapped"
    return installation


def request_words(installation: Installation) -> list[str]:
    """The words that certgrinderd gives to Certbot."""
    server, email = (str(installation.settings[key]) for key in ("acme-server-url", "acme-email"))
    return [
        *("certonly", "--non-interactive", "--agree-tos", "--manual"),
        *("--preferred-challenges", "dns"),
        *("--manual-auth-hook", HOOK, "--manual-cleanup-hook", CLEANUP_HOOK),
        *("--csr", f"{FOLDER}/csr.pem", "--fullchain-path", f"{FOLDER}/fullchain.pem"),
        *("--cert-path", f"{FOLDER}/certificate.pem", "--chain-path", f"{FOLDER}/chain.pem"),
        *("--server", server, "--email", email),
    ]


def require_certificate(installation: Installation, named: Named, name: str) -> None:
    """A client gets its certificate, and the challenge is gone afterwards."""
    named.delegate(name)
    installation.host.check(["rm", "-f", CALLS])
    answer = installation.request(make_csr([name]).pem, name)
    assert answer.returncode == 0, answer.stderr.decode()
    leaf = x509.load_pem_x509_certificates(answer.stdout)[0]
    alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == [name]
    assert named.challenges(name) == []
    assert "USER=root\n" in installation.calls()
    assert installation.host.check(["ls", "/tmp"]) == "certgrinderd.pid\n"


def test_request_works_by_the_pinned_rule(pinned: Installation, named: Named) -> None:
    """Certbot runs as root, its hooks know the zone, and we can read its answer."""
    require_certificate(pinned, named, "pinned.example.test")
    assert f"ACMEZONE={named.zone}\n" in pinned.calls()


def test_request_works_by_the_wrapper(wrapped: Installation, named: Named) -> None:
    """The same where sudo knows no regular expressions."""
    require_certificate(wrapped, named, "wrapped.example.test")
    assert f"ACMEZONE={named.zone}\n" in wrapped.calls()


@pytest.mark.parametrize("kind", ["pinned", "wrapped"])
def test_account_is_shown(request: pytest.FixtureRequest, kind: str, named: Named) -> None:
    """The other thing that Certbot is asked for."""
    installation: Installation = request.getfixturevalue(kind)
    require_certificate(installation, named, f"account.{kind}.example.test")
    answer = installation.request(b"", "", "show", "acmeaccount")
    assert answer.returncode == 0, answer.stderr.decode()
    assert b"\n  Account URL: https://" in answer.stdout


@pytest.mark.parametrize("kind", ["pinned", "wrapped"])
def test_client_may_choose_a_chain(request: pytest.FixtureRequest, kind: str, named: Named) -> None:
    """A chain's name may have blanks; one that looks like an option stays a name, or is refused."""
    installation: Installation = request.getfixturevalue(kind)
    name = f"chain.{kind}.example.test"
    named.delegate(name)
    csr = make_csr([name]).pem
    words = ("--preferred-chain", "ISRG_Root_X1", "get", "certificate")
    answer = installation.request(csr, name, *words)
    assert answer.returncode == 0, answer.stderr.decode()
    assert "word: --preferred-chain=ISRG Root X1\n" in installation.calls()

    installation.request(csr, name, "--preferred-chain", "X_--pre-hook_id", "get", "certificate")
    assert "word: --pre-hook" not in installation.calls()


@pytest.mark.parametrize("kind", ["pinned", "wrapped"])
def test_client_that_hangs_up_ends_certbot(request: pytest.FixtureRequest, kind: str) -> None:
    """SIGTERM reaches what root runs for the user, and the cleanup hook has run then."""
    installation: Installation = request.getfixturevalue(kind)
    host = installation.host
    host.check(["mkdir", "/run/hooks"])
    host.check(["cp", "-a", HOOK, CLEANUP_HOOK, "/run/hooks"])
    # certbot forgets about a challenge whose auth hook has not ended, so the first one counts.
    slow = (
        "[ ! -e /run/hooks/done ] || { : >/run/hooks/started; exec sleep 600; }\n"
        ": >/run/hooks/done\n"
    )
    host.write(HOOK, f"#!/bin/sh\n{slow}", mode=0o755)
    host.write(CLEANUP_HOOK, "#!/bin/sh\n: >/run/hooks/cleaned\n", mode=0o755)
    try:
        names = [f"hangup.{kind}.example.test", f"www.hangup.{kind}.example.test"]
        variables = {
            "SSH_ORIGINAL_COMMAND": "get certificate",
            "CERTGRINDERD_DOMAINSETS": ",".join(names),
        }
        with host.popen([PYZ, "-c", CONFIGURATION], user=USER, env=variables) as process:
            try:
                assert process.stdin
                assert process.stdout
                assert process.stderr
                process.stdin.write(make_csr(names).pem)
                process.stdin.close()
                started = "/run/hooks/started"
                wait_until(lambda: is_there(host, started), timeout=60, what="the hook starts")
                process.stdout.close()
                process.wait(60)
                log = process.stderr.read().decode()
            finally:
                process.kill()
        assert "the client hung up" in log
        assert is_there(host, "/run/hooks/cleaned"), log
        assert host.run(["sh", "-c", "grep -l cert[o]nly /proc/[0-9]*/cmdline"]).stdout == b""
        assert host.check(["ls", "/tmp"]) == "certgrinderd.pid\n"
    finally:
        host.check(["sh", "-c", "cp -a /run/hooks/*.sh /usr/local/bin/hooks; rm -r /run/hooks"])


def is_there(host: Host, path: str) -> bool:
    """Whether a file exists."""
    return host.run(["test", "-e", path]).returncode == 0


Change = Callable[[list[str]], list[str]]


def _instead(old: str, new: str) -> Change:
    return lambda words: [new if word == old else word for word in words]


def _after(option: str, value: str) -> Change:
    def change(words: list[str]) -> list[str]:
        place = words.index(option) + 1
        return [*words[:place], value, *words[place + 1 :]]

    return change


def _more(*more: str) -> Change:
    return lambda words: [*words, *more]


def _before(*more: str) -> Change:
    return lambda words: [*more, *words]


CHANGES = [
    pytest.param(_more("--pre-hook", "/tmp/evil"), id="a hook of Certbot's behind"),
    pytest.param(_before("--pre-hook", "/tmp/evil"), id="one in front"),
    pytest.param(_more("--manual-auth-hook", "/tmp/evil"), id="the auth hook once more"),
    pytest.param(_more("--config-dir", "/tmp/evil"), id="a folder of configuration"),
    pytest.param(_more("--config", "/tmp/evil"), id="a file of configuration"),
    pytest.param(_more("--logs-dir", "/tmp/evil"), id="a folder for logs"),
    pytest.param(_more("-d", "other.example"), id="a name"),
    pytest.param(_more(""), id="an empty word"),
    pytest.param(_more("--preferred-chain=X --pre-hook id"), id="an option in the chain's name"),
    pytest.param(_more("--preferred-chain=X", "--pre-hook", "id"), id="an option behind the chain"),
    pytest.param(_more("--preferred-chain=X", "--preferred-chain=Y"), id="two chains"),
    pytest.param(_more("--preferred-chain=a/b"), id="a path as chain"),
    pytest.param(_more("--preferred-chain=$(id)"), id="a command as chain"),
    pytest.param(_instead("certonly", "run"), id="another subcommand"),
    pytest.param(_instead("certonly", "renew"), id="renew"),
    pytest.param(_instead("certonly", "revoke"), id="revoke"),
    pytest.param(_instead("--agree-tos", "--agree-tos=x"), id="a switch with a value"),
    pytest.param(_after("--preferred-challenges", "http"), id="a challenge that is disabled"),
    pytest.param(_after("--manual-auth-hook", "/tmp/evil"), id="another auth hook"),
    pytest.param(_after("--manual-auth-hook", f"{HOOK}; id"), id="a command after the auth hook"),
    pytest.param(_after("--manual-auth-hook", f"{HOOK}\nid"), id="a line after the auth hook"),
    pytest.param(_after("--manual-auth-hook", f"{HOOK} x"), id="an argument of the auth hook"),
    pytest.param(_after("--manual-auth-hook", HOOK.replace(".sh", "xsh")), id="a dot is a dot"),
    pytest.param(_after("--manual-cleanup-hook", "/tmp/evil"), id="another cleanup hook"),
    pytest.param(_after("--csr", "/etc/shadow"), id="any file as CSR"),
    pytest.param(_after("--csr", f"{FOLDER}/../x/csr.pem"), id="a CSR by .."),
    pytest.param(_after("--csr", f"{FOLDER}0/csr.pem"), id="a longer folder"),
    pytest.param(_after("--csr", f"{FOLDER[:-1]}/csr.pem"), id="a shorter folder"),
    pytest.param(_after("--csr", f"{FOLDER[:-1]}g/csr.pem"), id="a folder that is not hexadecimal"),
    pytest.param(_after("--csr", f"{FOLDER[:-1]}F/csr.pem"), id="one in upper case"),
    pytest.param(_after("--csr", f"{FOLDER}/csr.pem\n"), id="a newline at the end"),
    pytest.param(_after("--csr", f"{FOLDER}/csr.pem --pre-hook id"), id="blanks in a word"),
    pytest.param(_after("--fullchain-path", "/etc/cron.d/x"), id="any file as chain"),
    pytest.param(_after("--fullchain-path", f"{FOLDER}/x"), id="another file in the folder"),
    pytest.param(_after("--cert-path", "/etc/x"), id="any file as certificate"),
    pytest.param(_after("--chain-path", "/etc/x"), id="any file as issuers"),
    pytest.param(_after("--server", "https://evil.example/dir"), id="another CA"),
    pytest.param(_after("--email", "evil@example.test"), id="another address"),
    pytest.param(lambda words: words[:-2], id="without the address"),
    pytest.param(lambda words: [*words[:-2], "--email=admin@example.test"], id="another form"),
    pytest.param(lambda _: ["--help"], id="only help"),
    pytest.param(lambda _: [], id="no word at all"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_sudo_refuses_any_other_word(pinned: Installation, change: Change) -> None:
    """Certbot is not even started."""
    refused = pinned.sudo(CERTBOT, *change(request_words(pinned)))
    assert refused.returncode == 1
    assert b"a password is required" in refused.stderr
    assert pinned.calls() == ""


def test_sudo_permits_the_words_of_a_request(pinned: Installation) -> None:
    """Next to which are all that it refuses."""
    words = request_words(pinned)
    assert pinned.sudo(CERTBOT, *words).returncode == 0
    assert [line[6:] for line in pinned.calls().splitlines() if line.startswith("word: ")] == words


@pytest.mark.parametrize(
    "change",
    [
        parameter
        for parameter in CHANGES
        # Words that mean the same, or nothing; the wrapper's settings know no kind of challenge.
        if parameter.id not in {"a challenge that is disabled", "two chains", "without the address"}
        # One word here, and so no option: Certbot finds no chain of this name.
        and parameter.id != "an option in the chain's name"
    ],
)
def test_wrapper_refuses_any_other_word(wrapped: Installation, change: Change) -> None:
    """Certbot is not even started."""
    refused = wrapped.sudo(WRAPPER, *change(request_words(wrapped)))
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"certgrinderd-certbot: ")
    assert refused.stderr.count(b"\n") == 1
    assert wrapped.calls() == ""


def test_wrapper_permits_the_words_of_a_request(wrapped: Installation) -> None:
    """Next to which are all that it refuses."""
    words = request_words(wrapped)
    assert wrapped.sudo(WRAPPER, *words).returncode == 0
    assert [line[6:] for line in wrapped.calls().splitlines() if line.startswith("word: ")] == words


@pytest.mark.parametrize("challenge", list(Challenge))
def test_wrapper_knows_all_settings(wrapped: Installation, challenge: Challenge) -> None:
    """Everything that certgrinderd can give to Certbot, but for a CA that isn't verified."""
    settings = Settings(
        acme_email=None,
        auth_hook="/bin/echo 'a b'",
        cleanup_hook="/bin/echo",
        certbot_command=f"sudo {WRAPPER}",
        certbot_config_dir="/srv/config",
        certbot_work_dir="/srv/work",
        certbot_logs_dir="/srv/logs",
        preferred_chain="ISRG_Root_X1",
        acme_server_url="https://b.example/dir",
    )
    conf = (
        f"CERTBOT={CERTBOT}\nAUTH_HOOK=\"/bin/echo 'a b'\"\nCLEANUP_HOOK=/bin/echo\n"
        "SERVERS='https://a.example/dir https://b.example/dir'\nTEMP_DIR=/srv/temp\n"
        "CONFIG_DIR=/srv/config\nWORK_DIR=/srv/work\nLOGS_DIR=/srv/logs\n"
    )
    wrapped.way = ""
    wrapped.host.write("/etc/certgrinderd/certbot-wrapper.conf", conf)
    paths = certbot.Paths.in_folder(Path("/srv/temp/certgrinderd-0123456789abcdef"))
    _, *words = certbot.certonly_command(settings, challenge, paths)
    assert wrapped.sudo(*words).returncode == 0, wrapped.sudo(*words).stderr
    assert wrapped.sudo(*certbot.show_account_command(settings)[1:]).returncode == 0
    assert "word: show_account\n" in wrapped.calls()

    wrapped.host.write("/etc/certgrinderd/certbot-wrapper.conf", conf.replace("/srv/work", "/x"))
    refused = wrapped.sudo(*words)
    assert refused.returncode == 1
    assert b"--work-dir /srv/work: " in refused.stderr
    assert wrapped.calls() == ""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["id"], id="another program"),
        pytest.param(["-s"], id="a shell"),
        pytest.param(["-e", "/etc/passwd"], id="an editor"),
        pytest.param([f"{CERTBOT}x"], id="a program with a longer name"),
        pytest.param(["-u", USER, CERTBOT], id="as somebody else"),
        pytest.param(["-E", CERTBOT], id="with the whole environment"),
        pytest.param(["-D", "/tmp", CERTBOT], id="in another folder"),
        pytest.param(["-C", "9", CERTBOT], id="with more open files"),
        pytest.param(["PYTHONPATH=/tmp", CERTBOT], id="with where Python looks"),
        pytest.param(["ACMEZONE=evil.example", CERTBOT], id="with another zone"),
        pytest.param(["WEBROOT=/etc", CERTBOT], id="with a web root"),
    ],
)
def test_sudo_refuses_anything_else(pinned: Installation, words: list[str]) -> None:
    """Even with the right words for Certbot, where there is one."""
    rest = request_words(pinned) if words[-1] == CERTBOT else []
    assert pinned.sudo(*words, *rest).returncode == 1
    assert pinned.calls() == ""


def test_sudo_permits_the_zone_of_the_configuration(pinned: Installation) -> None:
    """In front of Certbot, where another zone is refused."""
    same = pinned.sudo(f"ACMEZONE={pinned.settings['acme-zone']}", CERTBOT, *request_words(pinned))
    assert same.returncode == 0


def test_environment_does_not_pass(pinned: Installation) -> None:
    """Nothing by which the user could steer root's Certbot; the zone if it is the right one."""
    names = (
        *("ACMEZONE", "WEBROOT", "PYTHONPATH", "PYTHONHOME", "SHIV_ROOT", "TMPDIR", "LD_PRELOAD"),
        *("REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "XDG_CONFIG_HOME", "CERTBOT_DOMAIN"),
        *("CERTGRINDERD_HOOKS_CONF", "CERTGRINDERD_NSUPDATE", "CERTGRINDERD_DOMAINSETS"),
    )
    hostile = dict.fromkeys(names, "/tmp/evil")
    path = "/tmp/evil:/usr/bin:/bin"
    pinned.sudo(CERTBOT, *request_words(pinned), PATH=path, **hostile)
    variables = dict(line.partition("=")[::2] for line in pinned.calls().splitlines())
    assert not set(hostile) & set(variables)
    assert variables["HOME"] == "/root"
    assert "/tmp" not in variables["PATH"]

    right = str(pinned.settings["acme-zone"])
    pinned.sudo(CERTBOT, *request_words(pinned), ACMEZONE=right)
    assert f"ACMEZONE={right}\n" in pinned.calls()


@pytest.mark.parametrize(
    "join",
    [
        pytest.param(lambda words: [" ".join(words)], id="all words in one"),
        pytest.param(lambda words: [" ".join(words[:2]), *words[2:]], id="subcommand and switch"),
        pytest.param(lambda words: [*words[:6], " ".join(words[6:8]), *words[8:]], id="a hook"),
        pytest.param(lambda words: [*words[:7], " ".join(words[7:])], id="all after the auth hook"),
        pytest.param(lambda words: [*words[:11], " ".join(words[11:])], id="all after the CSR"),
        pytest.param(lambda words: [*words, "--preferred-chain=X", "renew"], id="a split chain"),
    ],
)
def test_words_joined_or_split_lead_to_nothing(
    pinned: Installation, join: Callable[[Sequence[str]], list[str]]
) -> None:
    """Where words begin and end sudo cannot see; Certbot does, and makes no use of such words."""
    words = join(request_words(pinned))
    pinned.host.check(["rm", "-f", CALLS])
    folder = ["install", "-d", "-m", "700", "-o", USER, FOLDER]
    pinned.host.check(folder)
    pinned.host.write(f"{FOLDER}/csr.pem", make_csr(["joined.example.test"]).pem)
    try:
        done = pinned.host.run(["sudo", "-n", CERTBOT, *words], user=USER)
        assert "word: " in pinned.calls()
        assert done.returncode != 0
        assert b"a password is required" not in done.stderr
        assert pinned.host.check(["ls", FOLDER]) == "csr.pem\n"
    finally:
        pinned.host.check(["rm", "-r", FOLDER])


@pytest.mark.parametrize(
    "path", [HOOK, CLEANUP_HOOK, CERTBOT, CONFIGURATION, "/etc/certgrinderd/hooks.conf"]
)
def test_no_rule_for_what_the_user_could_change(installation: Installation, path: str) -> None:
    """Who can write what root runs is root; so is who writes what the rule is made of."""
    installation.configure()
    installation.host.check(["chown", USER, path])
    try:
        refused = installation.show_sudoers()
    finally:
        installation.host.check(["chown", "root", path])
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert f"{USER} can change {path}".encode() in refused.stderr
    assert installation.show_sudoers().returncode == 0


WEB_ROOT = "/var/www/acme"
TOKENS = f"{WEB_ROOT}/.well-known/acme-challenge"


@pytest.mark.parametrize(
    ("script", "part"),
    [
        pytest.param(f"chown {USER} {WEB_ROOT}", WEB_ROOT, id="the web root"),
        pytest.param(f"chown {USER} {WEB_ROOT}/.well-known", f"{WEB_ROOT}/.well-known", id="above"),
        pytest.param(f"chown {USER} {TOKENS}", TOKENS, id="the folder"),
        pytest.param(f"chmod 1777 {TOKENS}", TOKENS, id="a folder like /tmp"),
        pytest.param(
            f"rm -r {WEB_ROOT}/.well-known && chmod 1777 {WEB_ROOT}", WEB_ROOT, id="not there yet"
        ),
        pytest.param(
            f"rmdir {TOKENS} && ln -s /etc/cron.d {TOKENS} && chown -h {USER} {TOKENS}",
            TOKENS,
            id="the user's link",
        ),
        pytest.param(
            f"rmdir {TOKENS} && ln -s /home/{USER}/tokens {TOKENS}"
            f" && ln -s /etc/cron.d /home/{USER}/tokens",
            f"/home/{USER}",
            id="a link to the user's link",
        ),
    ],
)
def test_no_rule_for_a_web_root_that_the_user_could_change(
    installation: Installation, script: str, part: str
) -> None:
    """Root's hook would write its files where the user's link leads."""
    installation.configure(web_root=WEB_ROOT)
    host = installation.host
    fresh = f"rm -rf {WEB_ROOT} /home/{USER}/tokens && install -d -m 755 {WEB_ROOT}"
    host.check(["sh", "-ec", f"umask 022; {fresh}; mkdir -p {TOKENS}; {script}"])
    refused = installation.show_sudoers()
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert f"{USER} can change {part}, and".encode() in refused.stderr

    host.check(["sh", "-ec", f"umask 022; {fresh}"])
    assert b"WEBROOT=/var/www/acme" in installation.show_sudoers().stdout
    host.check(["sh", "-ec", f"umask 022; mkdir -p {TOKENS}"])
    assert installation.show_sudoers().returncode == 0


INI = "/etc/letsencrypt/cli.ini"
DEPLOY = "/etc/letsencrypt/renewal-hooks/deploy"


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("chown {user} /etc/letsencrypt", "/etc/letsencrypt"),
        ("chmod 1777 /var/log/letsencrypt", "/var/log/letsencrypt"),
        ("mkdir /var/lib/letsencrypt/x; chown {user} $_", "/var/lib/letsencrypt/x"),
        ("mkdir -p {deploy}; touch {deploy}/x; chown {user} $_", f"{DEPLOY}/x"),
        ("echo 'deploy-hook = \"/home/{user}/x\" y' >{ini}", "/home/{user}"),
        ("mkdir -p /srv/c/x; chown {user} $_; echo 'work-dir = /srv/c' >{ini}", "/srv/c/x"),
        (
            "mkdir -p /root/.config/letsencrypt; echo 'pre-hook=sh /home/{user}/x # y' >$_/cli.ini",
            "/home/{user}",
        ),
    ],
)
def test_no_rule_for_what_certbot_uses_of_its_own(
    installation: Installation, script: str, part: str
) -> None:
    """Its folders, what is below them, and what its own settings name."""
    installation.configure()
    folders = "/etc/letsencrypt /var/lib/letsencrypt /var/log/letsencrypt"
    fresh = f"rm -rf {folders} /root/.config/letsencrypt /srv/c; install -d -m 755 {folders}"
    words = {"user": USER, "deploy": DEPLOY, "ini": INI}
    host = installation.host
    # $_ is the last word of the command before it.
    host.check(["bash", "-ec", f"umask 022; {fresh}; {script.format(**words)}"])
    refused = installation.show_sudoers()
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert f"{USER} can change {part.format(**words)}, and with it".encode() in refused.stderr

    mended = script.replace("{user}", "root").replace("/home", "").replace("1777", "755")
    host.check(["bash", "-ec", f"umask 022; {fresh}; {mended.format(**words)}"])
    assert installation.show_sudoers().returncode == 0
    host.check(["bash", "-ec", fresh])


def test_no_rule_for_a_temp_dir_of_the_user(installation: Installation) -> None:
    """Root's Certbot would follow a link in place of the private folder; not so in /var/tmp."""
    installation.configure(temp_dir=f"/home/{USER}")
    refused = installation.show_sudoers()
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert f"temp-dir: {USER} can change /home/{USER}, and".encode() in refused.stderr
    assert b"remove temp-dir" in refused.stderr
    installation.configure(temp_dir="/var/tmp")
    assert b"/var/tmp/certgrinderd-" in installation.show_sudoers().stdout


def test_all_that_the_user_could_change_is_said_at_once(installation: Installation) -> None:
    """In one line, and each thing once."""
    installation.configure()
    paths = [HOOK, CLEANUP_HOOK, CERTBOT]
    installation.host.check(["chown", USER, *paths])
    try:
        refused = installation.show_sudoers()
    finally:
        installation.host.check(["chown", "root", *paths])
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)
    for path in paths:
        assert refused.stderr.count(f"{USER} can change {path},".encode()) == 1
    assert installation.show_sudoers().returncode == 0


def test_no_rule_for_hooks_inside_the_program(installation: Installation) -> None:
    """Each user unpacks them into a folder of its own, and each build is in another one."""
    installation.configure()
    installation.host.check(["mv", "/usr/local/bin/hooks", "/usr/local/bin/away"])
    try:
        refused = installation.show_sudoers()
    finally:
        installation.host.check(["mv", "/usr/local/bin/away", "/usr/local/bin/hooks"])
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"another path with each build and for each user: put the folder" in refused.stderr
    assert installation.show_sudoers().returncode == 0


@pytest.mark.parametrize(("user", "reason"), [("nobody2", b"no user"), ("root", b"no rule")])
def test_no_rule_for_a_user_that_needs_none(
    installation: Installation, user: str, reason: bytes
) -> None:
    """One that isn't there, and root."""
    installation.configure()
    refused = installation.show_sudoers("--user", user)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert reason in refused.stderr
    assert b"Defaults:daemon " in installation.show_sudoers("--user", "daemon").stdout


@pytest.mark.parametrize("length", [LONGEST_EXPRESSION, LONGEST_EXPRESSION + 1])
def test_sudo_never_matches_a_longer_expression(installation: Installation, length: int) -> None:
    """And visudo has nothing against it, which is why we must count."""
    installation.configure()
    word = "a" * (length - 2)
    installation.allow(f"{USER} ALL=(root) NOPASSWD: {CERTBOT} ^{word}$\n")
    done = installation.sudo(CERTBOT, word)
    assert done.returncode == (0 if length == LONGEST_EXPRESSION else 1)
