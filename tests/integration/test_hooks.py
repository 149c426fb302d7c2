"""The shipped hooks, run by several shells against a real name server and a real web server."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import MissingProgramError, clean_environment, find_program

HOOKS = Path(__file__).resolve().parents[2] / "hooks"
WELL_KNOWN = ".well-known/acme-challenge"

SHELLS = {"dash": ("dash",), "busybox": ("busybox", "sh")}

Answer = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Hooks:
    """The two scripts, with the shell and the environment they are run with."""

    shell: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path = HOOKS
    umask: int = 0o022

    def auth(self, **variables: str) -> Answer:
        """Run the auth hook with these variables as well."""
        return self._run("manual-auth-hook.sh", variables)

    def cleanup(self, **variables: str) -> Answer:
        """Run the cleanup hook with these variables as well."""
        return self._run("manual-cleanup-hook.sh", variables)

    def _run(self, name: str, variables: Mapping[str, str]) -> Answer:
        return subprocess.run(
            [*self.shell, str(self.folder / name)],
            env={**self.environment, **variables},
            umask=self.umask,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def assert_done(answer: Answer) -> None:
    """Exit status 0 and not a word."""
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def assert_refused(answer: Answer, reason: str) -> None:
    """Exit status 1 and one printable line on stderr that gives the reason."""
    assert (answer.returncode, answer.stdout) == (1, "")
    assert reason in answer.stderr
    line = answer.stderr.removesuffix("\n")
    assert line.isprintable()
    assert line.startswith("manual-")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """A shell that the hooks support."""
    program, *words = SHELLS[request.param]
    try:
        return (find_program(program), *words)
    except MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """An environment in which no settings of this machine count."""
    conf = tmp_path / "hooks.conf"
    conf.touch()
    return clean_environment(CERTGRINDERD_HOOKS_CONF=str(conf))


@pytest.fixture
def dns(shell: tuple[str, ...], settings: dict[str, str], named: Named) -> Hooks:
    """The hooks with what certgrinderd gives them for DNS-01, all but name and value."""
    dns_01 = {
        "ACMEZONE": named.zone,
        "CERTGRINDERD_NSUPDATE_KEY": str(named.key_file),
        "CERTGRINDERD_NSUPDATE_PORT": str(named.port),
    }
    return Hooks(shell, {**settings, **dns_01})


def remove_challenges(nginx: Nginx) -> None:
    """Take away whatever a test put where challenges go."""
    path = nginx.webroot / ".well-known"
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


@pytest.fixture
def http(shell: tuple[str, ...], settings: dict[str, str], nginx: Nginx) -> Iterator[Hooks]:
    """The hooks with what certgrinderd gives them for HTTP-01, in a web root without folders."""
    remove_challenges(nginx)
    http_01 = {
        "WEBROOT": str(nginx.webroot),
        "CERTBOT_DOMAIN": "web.example.test",
        "CERTBOT_TOKEN": "token",
        "CERTBOT_VALIDATION": "token.thumb-print_1",
    }
    yield Hooks(shell, {**settings, **http_01})
    remove_challenges(nginx)


def test_txt_value_is_added_and_deleted(dns: Hooks, named: Named) -> None:
    """After auth the name server has the value, for a minute at most; after cleanup it has not."""
    challenge = {"CERTBOT_DOMAIN": "one.example.test", "CERTBOT_VALIDATION": "-aZ09_"}

    assert_done(dns.auth(**challenge))
    assert named.challenges("one.example.test") == ["-aZ09_"]
    assert named.ttl("one.example.test.acme.test", "TXT") == 60

    assert_done(dns.cleanup(**challenge, CERTBOT_AUTH_OUTPUT="anything\n"))
    assert named.challenges("one.example.test") == []


def test_two_values_of_one_name_live_side_by_side(dns: Hooks, named: Named) -> None:
    """example.com and *.example.com in one order, or two orders at once, each keep their value."""
    domain = "two.example.test"

    for value in ("first", "second"):
        assert_done(dns.auth(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION=value))
    assert named.challenges(domain) == ["first", "second"]

    assert_done(dns.cleanup(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION="first"))
    assert named.challenges(domain) == ["second"]

    assert_done(dns.cleanup(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION="second"))
    assert named.challenges(domain) == []


def test_dns_cleanup_may_run_again(dns: Hooks, named: Named) -> None:
    """Cleanup succeeds when its value is gone or never was there, and leaves the others."""
    domain = "again.example.test"
    assert_done(dns.auth(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION="other"))

    for _ in range(2):
        assert_done(dns.cleanup(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION="never-added"))
    assert named.challenges(domain) == ["other"]

    assert_done(dns.cleanup(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION="other"))
    assert named.challenges(domain) == []


def test_wrong_key_is_an_error(dns: Hooks, named: Named) -> None:
    """When the name server refuses the update the hook fails and says so; with the key it works."""
    challenge = {"CERTBOT_DOMAIN": "key.example.test", "CERTBOT_VALIDATION": "value"}

    wrong = {"CERTGRINDERD_NSUPDATE_KEY": str(named.wrong_key_file)}
    assert_refused(dns.auth(**challenge, **wrong), "cannot add TXT of key.example.test.acme.test: ")
    assert named.challenges("key.example.test") == []

    assert_done(dns.auth(**challenge))
    assert_refused(dns.cleanup(**challenge, **wrong), "cannot delete TXT of key.example.test")
    assert named.challenges("key.example.test") == ["value"]
    assert_done(dns.cleanup(**challenge))


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        pytest.param(
            {"CERTGRINDERD_NSUPDATE_KEY": "/nonexistent/key"},
            "CERTGRINDERD_NSUPDATE_KEY: cannot read /nonexistent/key",
            id="key file missing",
        ),
        pytest.param(
            {"CERTGRINDERD_HOOKS_CONF": "/nonexistent/conf"},
            "CERTGRINDERD_HOOKS_CONF: cannot read /nonexistent/conf",
            id="settings file missing",
        ),
        pytest.param(
            {"CERTGRINDERD_HOOKS_CONF": "hooks.conf"},
            "CERTGRINDERD_HOOKS_CONF is not an absolute path",
            id="settings file relative",
        ),
        pytest.param(
            {"CERTGRINDERD_NSUPDATE": "/nonexistent/nsupdate"},
            "cannot add TXT of set.example.test.acme.test: ",
            id="nsupdate missing",
        ),
        pytest.param(
            {"CERTGRINDERD_NSUPDATE_PORT": "53 x"},
            "CERTGRINDERD_NSUPDATE_PORT is not a number",
            id="port not a number",
        ),
        pytest.param(
            {"CERTGRINDERD_NSUPDATE_SERVER": "127.0.0.1\nlocal 127.0.0.1"},
            "CERTGRINDERD_NSUPDATE_SERVER is not a host",
            id="server with a second line",
        ),
        pytest.param(
            {"CERTGRINDERD_NSUPDATE_TTL": "-1"},
            "CERTGRINDERD_NSUPDATE_TTL is not a number",
            id="negative TTL",
        ),
        pytest.param(
            {"CERTGRINDERD_DNS_DELAY": "1000000"},
            "CERTGRINDERD_DNS_DELAY is not a number",
            id="endless delay",
        ),
        pytest.param({"ACMEZONE": "other.test"}, "cannot add TXT", id="zone of nobody"),
        pytest.param({"ACMEZONE": "sub.acme.test"}, "cannot add TXT", id="name inside a zone"),
        pytest.param({"ACMEZONE": ""}, "DNS-01 needs ACMEZONE", id="no zone"),
        pytest.param({"CERTBOT_TOKEN": "token"}, "HTTP-01 needs WEBROOT", id="no web root"),
    ],
)
def test_bad_setting_is_named(
    dns: Hooks, named: Named, variables: dict[str, str], reason: str
) -> None:
    """A setting that can't work is an error that names it; without it the same call works."""
    challenge = {"CERTBOT_DOMAIN": "set.example.test", "CERTBOT_VALIDATION": "value"}

    assert_refused(dns.auth(**{**challenge, **variables}), reason)
    assert named.challenges("set.example.test") == []

    assert_done(dns.auth(**challenge))
    assert named.challenges("set.example.test") == ["value"]
    assert_done(dns.cleanup(**challenge))


def test_settings_file_beats_the_environment(dns: Hooks, named: Named, tmp_path: Path) -> None:
    """What the admin wrote in the settings file counts, for the zone as well."""
    conf = tmp_path / "own.conf"
    conf.write_text(
        f"ACMEZONE={named.zone}\n"
        f"CERTGRINDERD_NSUPDATE_PORT={named.port}\n"
        "CERTGRINDERD_NSUPDATE_TTL=7\n",
        encoding="ascii",
    )
    challenge = {"CERTBOT_DOMAIN": "conf.example.test", "CERTBOT_VALIDATION": "value"}
    wrong = {"ACMEZONE": "other.test", "CERTGRINDERD_NSUPDATE_PORT": "1"}

    assert_done(dns.auth(**challenge, **wrong, CERTGRINDERD_HOOKS_CONF=str(conf)))
    assert named.ttl("conf.example.test.acme.test", "TXT") == 7
    assert_done(dns.cleanup(**challenge))


def test_unknown_name_in_the_settings_file_is_refused(
    dns: Hooks, named: Named, tmp_path: Path
) -> None:
    """A slip is no setting that silently does not count; all known ones do, and helpers may be."""
    conf = tmp_path / "own.conf"
    challenge = {"CERTBOT_DOMAIN": "slip.example.test", "CERTBOT_VALIDATION": "value"}
    variables = {**challenge, "CERTGRINDERD_HOOKS_CONF": str(conf)}
    good = (
        f"# SLIP=x\nfolder={named.key_file.parent}\nexport PATH=$PATH\nCERTGRINDERD_DNS_DELAY=0\n"
        f"  CERTGRINDERD_NSUPDATE_KEY=$folder/{named.key_file.name}\nWEBROOT=/x\n"
        f"CERTGRINDERD_NSUPDATE=nsupdate\nCERTGRINDERD_NSUPDATE_SERVER=127.0.0.1\n"
        f"CERTGRINDERD_NSUPDATE_TTL=60\nCERTGRINDERD_NSUPDATE_PORT={named.port}\nACMEZONE=acme.test"
    )
    for line in (
        "CERTGRINDERD_NSUPDATE_SEVER=ns1.example",
        "NSUPDATE_KEY=/etc/key",
        " export  CERTGRINDER_DNS_DELAY=1",
        "CERTGRINDERD_NSUPDATE_=x",
        "CERTGRINDERD=x",
        "CERTGRINDERD_HOOKS_CONF=/x",
    ):
        conf.write_text(f"{good}\n{line}\n", "utf-8")
        name = line.partition("=")[0].split()[-1]
        assert_refused(dns.auth(**variables), f"{conf}: there is no setting {name}")
    assert named.challenges("slip.example.test") == []

    conf.write_text(good, "utf-8")
    assert_done(dns.auth(**variables))
    assert named.challenges("slip.example.test") == ["value"]
    assert_done(dns.cleanup(**variables))


LONGEST_LABEL = "a" * 63
# With ".acme.test" after it, 253 characters.
LONGEST_DOMAIN = ".".join([LONGEST_LABEL] * 3 + ["b" * 38, "example.test"])

HOSTILE_DOMAINS = [
    pytest.param("", id="empty"),
    pytest.param("*.a.example.test", id="wildcard"),
    pytest.param("a.example.test\nupdate delete example.test.acme.test", id="second line"),
    pytest.param("a.example.test\n", id="trailing newline"),
    pytest.param("a.example.test 60 TXT x", id="blanks"),
    pytest.param('a".example.test', id="double quote"),
    pytest.param("a'.example.test", id="single quote"),
    pytest.param("a;.example.test", id="semicolon"),
    pytest.param("$(id).example.test", id="command substitution"),
    pytest.param("`id`.example.test", id="backquotes"),
    pytest.param("../a.example.test", id="path"),
    pytest.param("a\\032b.example.test", id="backslash"),
    pytest.param("pølse.example.test", id="not ASCII"),
    pytest.param("_a.example.test", id="underscore"),
    pytest.param("a..example.test", id="empty label"),
    pytest.param(".a.example.test", id="leading dot"),
    pytest.param("a.example.test.", id="trailing dot"),
    pytest.param("-a.example.test", id="leading hyphen"),
    pytest.param("a-.example.test", id="trailing hyphen"),
    pytest.param(f"a{LONGEST_LABEL}.example.test", id="label of 64"),
    pytest.param(LONGEST_DOMAIN.replace(".b", ".bb"), id="too long with the zone"),
]

HOSTILE_VALUES = [
    pytest.param("", id="empty"),
    pytest.param("a\nb", id="second line"),
    pytest.param("a\n", id="trailing newline"),
    pytest.param('a" "b', id="quotes"),
    pytest.param("a;b", id="semicolon"),
    pytest.param("$(id)", id="command substitution"),
    pytest.param("`id`", id="backquotes"),
    pytest.param("../a", id="path"),
    pytest.param("a\\034", id="backslash"),
    pytest.param("a b", id="blank"),
    pytest.param("a+b=", id="base64 of the wrong kind"),
    pytest.param("ø", id="not ASCII"),
    pytest.param("a" * 256, id="too long"),
]


def both(hooks: Hooks) -> list[Callable[..., Answer]]:
    """The two hooks: what one refuses the other must refuse as well."""
    return [hooks.auth, hooks.cleanup]


@pytest.mark.parametrize("domain", HOSTILE_DOMAINS)
def test_hostile_domain_is_refused(dns: Hooks, named: Named, domain: str) -> None:
    """A CERTBOT_DOMAIN that is not a host name changes nothing in the zone."""
    before = named.serial(named.zone)
    for hook in both(dns):
        assert_refused(hook(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION="value"), "CERTBOT_DOMAIN")
    assert named.serial(named.zone) == before


@pytest.mark.parametrize("value", [*HOSTILE_VALUES, pytest.param("a.b", id="dot")])
def test_hostile_validation_is_refused_for_dns(dns: Hooks, named: Named, value: str) -> None:
    """A CERTBOT_VALIDATION that is not base64url changes nothing in the zone."""
    before = named.serial(named.zone)
    for hook in both(dns):
        answer = hook(CERTBOT_DOMAIN="value.example.test", CERTBOT_VALIDATION=value)
        assert_refused(answer, "CERTBOT_VALIDATION")
    assert named.serial(named.zone) == before


@pytest.mark.parametrize(
    "zone",
    [
        pytest.param("acme.test\nserver 192.0.2.1", id="second line"),
        pytest.param("acme.test; x", id="semicolon"),
        pytest.param(".", id="root"),
        pytest.param("acme..test", id="empty label"),
    ],
)
def test_hostile_zone_is_refused(dns: Hooks, named: Named, zone: str) -> None:
    """An ACMEZONE that is not a domain name changes nothing; a trailing dot is allowed."""
    challenge = {"CERTBOT_DOMAIN": "zone.example.test", "CERTBOT_VALIDATION": "value"}
    before = named.serial(named.zone)
    for hook in both(dns):
        assert_refused(hook(**challenge, ACMEZONE=zone), "ACMEZONE")
    assert named.serial(named.zone) == before

    assert_done(dns.auth(**challenge, ACMEZONE="acme.test."))
    assert named.challenges("zone.example.test") == ["value"]
    assert_done(dns.cleanup(**challenge))


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        pytest.param(LONGEST_DOMAIN, "value", id="longest name"),
        pytest.param("xn--plse-gra.A-b.9.example.test", "value", id="A-label, case, digits"),
        pytest.param("a.example.test", "a" * 255, id="longest value"),
    ],
)
def test_nearest_accepted_values_for_dns(dns: Hooks, named: Named, domain: str, value: str) -> None:
    """What is just inside the limits is published and removed."""
    assert_done(dns.auth(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION=value))
    assert named.challenges(domain) == [value]
    assert_done(dns.cleanup(CERTBOT_DOMAIN=domain, CERTBOT_VALIDATION=value))
    assert named.challenges(domain) == []


def test_challenge_file_is_served_and_removed(http: Hooks, nginx: Nginx) -> None:
    """After auth the web server gives exactly the value; after cleanup 404, folders left alone."""
    assert_done(http.auth())
    assert nginx.get(f"/{WELL_KNOWN}/token") == (200, b"token.thumb-print_1")

    assert_done(http.cleanup(CERTBOT_AUTH_OUTPUT="anything"))
    assert nginx.get(f"/{WELL_KNOWN}/token")[0] == 404
    assert list((nginx.webroot / WELL_KNOWN).iterdir()) == []


def test_token_decides_for_http(http: Hooks, nginx: Nginx) -> None:
    """With both ACMEZONE and WEBROOT set, a token means HTTP-01."""
    assert_done(http.auth(ACMEZONE="acme.test"))
    assert (nginx.webroot / WELL_KNOWN / "token").exists()

    assert_refused(http.auth(ACMEZONE="acme.test", CERTBOT_TOKEN=""), "CERTBOT_VALIDATION")


def test_http_cleanup_removes_its_own_file_only(http: Hooks, nginx: Nginx) -> None:
    """Another challenge stays, and cleanup of what is gone or never was there succeeds."""
    assert_done(http.cleanup())
    assert_done(http.auth())
    assert_done(http.auth(CERTBOT_TOKEN="other"))

    for _ in range(2):
        assert_done(http.cleanup())
    assert [path.name for path in (nginx.webroot / WELL_KNOWN).iterdir()] == ["other"]

    assert_done(http.cleanup(CERTBOT_TOKEN="other"))
    assert list((nginx.webroot / WELL_KNOWN).iterdir()) == []


def test_private_umask_does_not_hide_the_file(http: Hooks, nginx: Nginx) -> None:
    """A caller's umask 077 does not reach the file or its folders; nginx serves them."""
    assert_done(replace(http, umask=0o077).auth())

    modes = {
        path: stat.S_IMODE((nginx.webroot / path).stat().st_mode)
        for path in (".well-known", WELL_KNOWN, f"{WELL_KNOWN}/token")
    }
    assert list(modes.values()) == [0o755, 0o755, 0o644]
    assert nginx.get(f"/{WELL_KNOWN}/token")[0] == 200


def test_folders_of_the_admin_stay_as_they_are(http: Hooks, nginx: Nginx, tmp_path: Path) -> None:
    """A folder that is already there keeps its mode, a symlink to one is followed."""
    elsewhere = tmp_path / "challenges"
    elsewhere.mkdir()
    elsewhere.chmod(0o750)
    (nginx.webroot / ".well-known").mkdir()
    (nginx.webroot / WELL_KNOWN).symlink_to(elsewhere)

    assert_done(http.auth())
    assert (elsewhere / "token").read_bytes() == b"token.thumb-print_1"
    assert_done(http.cleanup())
    assert list(elsewhere.iterdir()) == []
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o750
    assert (nginx.webroot / WELL_KNOWN).is_symlink()


@pytest.mark.parametrize("token", [param for param in HOSTILE_VALUES if param.values != ("",)])
def test_hostile_token_is_refused(http: Hooks, nginx: Nginx, token: str) -> None:
    """A CERTBOT_TOKEN that is not base64url makes no file and no folder anywhere."""
    for hook in both(http):
        assert_refused(hook(CERTBOT_TOKEN=token), "CERTBOT_TOKEN")
    assert not (nginx.webroot / ".well-known").exists()

    assert_done(http.auth(CERTBOT_TOKEN="-aZ09_"))
    assert (nginx.webroot / WELL_KNOWN / "-aZ09_").exists()


@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_hostile_validation_is_refused_for_http(http: Hooks, nginx: Nginx, value: str) -> None:
    """A CERTBOT_VALIDATION that is no key authorization makes no file."""
    for hook in both(http):
        assert_refused(hook(CERTBOT_VALIDATION=value), "CERTBOT_VALIDATION")
    assert not (nginx.webroot / ".well-known").exists()

    assert_done(http.auth(CERTBOT_VALIDATION="a" * 255))
    assert (nginx.webroot / WELL_KNOWN / "token").read_text(encoding="ascii") == "a" * 255


@pytest.mark.parametrize(
    "webroot",
    [
        pytest.param("webroot", id="relative"),
        pytest.param("/nonexistent/webroot", id="missing"),
        pytest.param("/etc/passwd", id="a file"),
        pytest.param("/\n", id="newline"),
    ],
)
def test_bad_web_root_is_refused(http: Hooks, nginx: Nginx, webroot: str) -> None:
    """WEBROOT must be the absolute path of a folder that exists; it may have blanks in it."""
    for hook in both(http):
        assert_refused(hook(WEBROOT=webroot), "WEBROOT")

    blanks = nginx.webroot / ".well-known" / "a b"
    blanks.mkdir(parents=True)
    assert_done(http.auth(WEBROOT=str(blanks)))
    assert (blanks / WELL_KNOWN / "token").exists()


def test_web_root_that_cannot_be_written_is_an_error(http: Hooks, nginx: Nginx) -> None:
    """The hook says where it could not write, and leaves nothing behind."""
    (nginx.webroot / ".well-known").write_text("in the way", encoding="ascii")
    assert_refused(http.auth(), "WEBROOT: ")

    (nginx.webroot / ".well-known").unlink()
    assert_done(http.auth())
    assert [path.name for path in (nginx.webroot / WELL_KNOWN).iterdir()] == ["token"]


@pytest.mark.parametrize("target", ["file", "nothing", "pipe"])
def test_existing_symlink_is_replaced_not_followed(
    http: Hooks, nginx: Nginx, tmp_path: Path, target: str
) -> None:
    """A symlink of the token's name does not make the hook write somewhere else."""
    victim = tmp_path / "victim"
    if target == "file":
        victim.write_text("untouched", encoding="ascii")
    elif target == "pipe":
        os.mkfifo(victim)
    (nginx.webroot / WELL_KNOWN).mkdir(parents=True)
    (nginx.webroot / WELL_KNOWN / "token").symlink_to(victim)

    assert_done(http.auth())
    if target == "file":
        assert victim.read_text(encoding="ascii") == "untouched"
    else:
        assert victim.is_fifo() == (target == "pipe")
        assert not victim.is_file()
    assert nginx.get(f"/{WELL_KNOWN}/token") == (200, b"token.thumb-print_1")


def test_same_challenge_twice_at_once(http: Hooks, nginx: Nginx) -> None:
    """Orders for one name may share a challenge: each hook succeeds, and the file is there."""
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: http.auth(), range(40)):
            assert_done(answer)
    assert nginx.get(f"/{WELL_KNOWN}/token") == (200, b"token.thumb-print_1")
    assert [path.name for path in (nginx.webroot / WELL_KNOWN).iterdir()] == ["token"]


def test_copied_hooks_work(http: Hooks, nginx: Nginx, tmp_path: Path) -> None:
    """The two files do their work from another folder, without the exec bit."""
    folder = tmp_path / "my hooks"
    folder.mkdir()
    for name in ("manual-auth-hook.sh", "manual-cleanup-hook.sh"):
        shutil.copyfile(HOOKS / name, folder / name)
    copied = Hooks(http.shell, http.environment, folder)

    assert_done(copied.auth())
    assert (nginx.webroot / WELL_KNOWN / "token").exists()
    assert_done(copied.cleanup())
    assert not (nginx.webroot / WELL_KNOWN / "token").exists()


def test_hooks_are_executable() -> None:
    """Both files run by their path alone, as a sudoers line or certbot would run them."""
    for name in ("manual-auth-hook.sh", "manual-cleanup-hook.sh"):
        answer = subprocess.run(
            [HOOKS / name],
            env={**clean_environment(), "CERTGRINDERD_HOOKS_CONF": os.devnull},
            capture_output=True,
            text=True,
            check=False,
        )
        assert_refused(answer, f"{name}: DNS-01 needs ACMEZONE")


Certbot = Callable[[str, list[str], dict[str, str]], Path]


@pytest.fixture
def certbot(calm_pebble: Pebble, named: Named, settings: dict[str, str], tmp_path: Path) -> Certbot:
    """Run the real certbot with the hooks and their variables; the path of the chain it got."""

    def run(challenge: str, names: list[str], variables: dict[str, str]) -> Path:
        (tmp_path / "csr.pem").write_bytes(make_csr(names).pem)
        command = [
            *(sys.executable, "-c", "import sys; from certbot.main import main; sys.exit(main())"),
            *("certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email"),
            *("--server", calm_pebble.directory_url, "--csr", str(tmp_path / "csr.pem")),
            *("--config-dir", str(tmp_path / "conf"), "--work-dir", str(tmp_path / "work")),
            *("--logs-dir", str(tmp_path / "logs"), "--max-log-backups", "0"),
            *("--fullchain-path", str(tmp_path / "fullchain.pem")),
            *("--cert-path", str(tmp_path / "cert.pem")),
            *("--chain-path", str(tmp_path / "chain.pem")),
            *("--manual", "--preferred-challenges", challenge),
            *("--manual-auth-hook", str(HOOKS / "manual-auth-hook.sh")),
            *("--manual-cleanup-hook", str(HOOKS / "manual-cleanup-hook.sh")),
        ]
        environment = {
            **settings,
            **variables,
            "CERTGRINDERD_NSUPDATE_KEY": str(named.key_file),
            "CERTGRINDERD_NSUPDATE_PORT": str(named.port),
            "REQUESTS_CA_BUNDLE": str(calm_pebble.ca_file),
        }
        answer = subprocess.run(
            command, env=environment, umask=0o077, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return tmp_path / "fullchain.pem"

    return run


def dns_names(chain: Path) -> list[str]:
    """The names of the first certificate in a file, sorted."""
    leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(san.get_values_for_type(x509.DNSName))


def test_certbot_gets_a_wildcard_certificate_by_dns(certbot: Certbot, named: Named) -> None:
    """A name and its wildcard in one order: two values are published at once and none is left."""
    names = ["*.e2e.example.test", "e2e.example.test"]
    named.delegate("e2e.example.test")
    before = named.serial(named.zone)

    assert dns_names(certbot("dns", names, {"ACMEZONE": named.zone})) == names
    assert named.serial(named.zone) == before + 4
    assert named.challenges("e2e.example.test") == []


def test_certbot_gets_a_certificate_by_http(certbot: Certbot, nginx: Nginx) -> None:
    """Two names in one order: the CA finds both files, and none is left."""
    names = ["a-http.example.test", "b-http.example.test"]

    assert dns_names(certbot("http", names, {"WEBROOT": str(nginx.webroot)})) == names
    assert any(WELL_KNOWN in line for line in nginx.requests())
    assert list((nginx.webroot / WELL_KNOWN).iterdir()) == []
