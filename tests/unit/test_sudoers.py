"""Rules for sudo, read as sudo reads them: one regular expression over the joined arguments."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from certgrinderd.errors import ConfigurationError, UsageError
from certgrinderd.issuance import certbot
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.settings.table import LETS_ENCRYPT_STAGING, Settings
from certgrinderd.setup.sudo import command as sudoers
from certgrinderd.setup.sudo import rule
from certgrinderd.setup.users import require_user
from certgrinderd.system import files

SETTINGS = Settings(
    acme_email="admin@example.org",
    acme_zone="acme.example.org",
    auth_hook="/bin/sh -c",
    cleanup_hook="/bin/echo",
    certbot_command="/usr/bin/sudo -n /usr/bin/certbot",
    client_acme_servers=("https://ca.example/acme/directory?a=b",),
    web_root="/var/www/acme",
)


@functools.cache
def expressions(settings: Settings) -> list[str]:
    """All that `show sudoers` allows."""
    return [
        rule.expression(
            rule.parse_command(words, label="certbot-command").arguments,
            optional=optional,
            folder=files.PRIVATE_NAME,
            label=name,
        )
        for name, words, optional in sudoers._certbot_commands(settings)
    ]


def is_allowed(settings: Settings, words: list[str]) -> bool:
    """Whether sudo would run the program with these arguments."""
    joined = " ".join(words)
    return any(re.fullmatch(pattern, joined) for pattern in expressions(settings))


def commands(settings: Settings) -> list[list[str]]:
    """What requests really run, without sudo: for each challenge, server and kind of chain."""
    found = []
    for challenge, server, chain in itertools.product(
        Challenge, settings.client_servers, (None, "ISRG_Root_X1", "(X) a_b", "Al's-(b)_(c)")
    ):
        if challenge.place(settings) is None:
            continue
        chosen = dataclasses.replace(settings, acme_server_url=server, preferred_chain=chain)
        with files.private_directory(settings.temp_dir) as folder:
            paths = certbot.Paths.in_folder(folder)
        found.append(certbot.certonly_command(chosen, challenge, paths))
        found.append(certbot.show_account_command(chosen))
    return [list(rule.parse_command(words, label="x").arguments) for words in found]


REQUEST = commands(SETTINGS)[0]
VARIANTS = [
    pytest.param({}, id="as usual"),
    pytest.param({"acme_email": None}, id="without an address"),
    pytest.param({"acme_zone": None}, id="HTTP-01 alone"),
    pytest.param({"web_root": None}, id="DNS-01 alone"),
    pytest.param({"skip_acme_server_cert_verify": True}, id="a CA that is not verified"),
    pytest.param({"certbot_config_dir": "/srv/c++", "certbot_logs_dir": "/var/l"}, id="folders"),
    pytest.param({"certbot_command": "/usr/bin/sudo /opt/c/certbot -v"}, id="words of its own"),
]


@pytest.mark.parametrize("changed", VARIANTS)
def test_every_request_is_allowed(changed: dict[str, Any], tmp_path: Path) -> None:
    """What the rule pins is what requests run, in any configuration, for any choice of a client."""
    settings = dataclasses.replace(SETTINGS, temp_dir=str(tmp_path), **changed)
    for words in commands(settings):
        legal = not any("(X)" in word for word in words)
        assert is_allowed(settings, words) == legal, words
        assert not is_allowed(settings, [*words, "--x"])
        assert not is_allowed(settings, ["x", *words])


def test_request_of_another_configuration_is_not_allowed(tmp_path: Path) -> None:
    """The rule is for one configuration: each of these differs in one value."""
    settings = dataclasses.replace(SETTINGS, temp_dir=str(tmp_path))
    for changed in (
        {"acme_email": "other@example.org"},
        {"auth_hook": "/bin/echo"},
        {"cleanup_hook": "/bin/sh"},
        {"temp_dir": str(tmp_path / "x")},
        {"certbot_config_dir": "/srv"},
        {"skip_acme_server_cert_verify": True},
    ):
        (tmp_path / "x").mkdir(exist_ok=True)
        other = dataclasses.replace(settings, **changed)
        assert not any(is_allowed(settings, words) for words in commands(other) if "--csr" in words)
        assert all(is_allowed(other, words) for words in commands(other) if "(X)" not in words[-1])


TEXT = st.one_of(
    st.sampled_from(
        ["--pre-hook", "/srv/x", " ", "", "\n", "certonly", "renew", "--csr", ".", "*"]
    ),
    st.text(max_size=30),
)


@given(data=st.data(), text=TEXT)
def test_no_changed_word_is_allowed(data: st.DataObject, text: str) -> None:
    """Replaced, put in or taken out, at any place; the hook and chain classes are narrow."""
    words = REQUEST
    place = data.draw(st.integers(0, len(words)))
    how = data.draw(st.sampled_from(["replace", "insert", "delete", "append"]))
    changed = list(words)
    if how == "insert":
        changed.insert(place, text)
    elif place == len(words):
        changed.append(text)
    elif how == "replace":
        changed[place] = text
    elif how == "append":
        changed[place] += text
    else:
        del changed[place]
    joined = " ".join(changed)
    assume(joined != " ".join(words))
    # Another folder of the same form is as good.
    assume(not re.fullmatch(".*/certgrinderd-[0-9a-f]{16}/[a-z]+[.]pem", text))
    assert not is_allowed(SETTINGS, changed)


@given(st.text(max_size=60))
def test_chain_is_a_name(chain: str) -> None:
    """No value of --preferred-chain has a word in it that Certbot could take for an option."""
    words = REQUEST
    if is_allowed(SETTINGS, [*words, f"--preferred-chain={chain}"]):
        assert re.fullmatch(r"[A-Za-z0-9 ._()'-]+", chain)
        assert not any(word.startswith("-") for word in chain.split(" "))
    assert is_allowed(SETTINGS, [*words, "--preferred-chain=ISRG Root X1"])


def test_private_folder_has_the_name_that_is_allowed(tmp_path: Path) -> None:
    """One place makes it, the other allows it."""
    with files.private_directory(str(tmp_path)) as folder:
        assert re.fullmatch(files.PRIVATE_NAME, folder.name)
    assert not re.fullmatch(files.PRIVATE_NAME, f"{folder.name}0")


def test_only_client_servers_are_allowed() -> None:
    """The configured one, staging, and those that clients may choose."""
    words = REQUEST
    place = words.index("--server") + 1
    for server in (SETTINGS.acme_server_url, LETS_ENCRYPT_STAGING, *SETTINGS.client_acme_servers):
        assert is_allowed(SETTINGS, [*words[:place], server, *words[place + 1 :]])
    for server in ("https://ca.example/acme/directory", "https://ca.example/acme/directoryXa=b"):
        assert not is_allowed(SETTINGS, [*words[:place], server, *words[place + 1 :]])


def test_expression_is_as_long_as_sudo_can_match() -> None:
    """1,024 characters, `^` and `$` included; one more is an error that says what to do."""
    assert len(rule.expression(["a" * 1022], label="x")) == 1024
    with pytest.raises(ConfigurationError, match=r"x would have .* 1025 characters.*cli\.ini"):
        rule.expression(["a" * 1023], label="x")
    with pytest.raises(ConfigurationError, match="use shorter paths"):
        expressions(dataclasses.replace(SETTINGS, certbot_config_dir="/" + "x" * 500))


@pytest.mark.parametrize("text", ["a#b", 'a"b', "a\\b", "a\nb", "a\x02\x1bb"])
def test_what_sudoers_cannot_hold_is_an_error(text: str) -> None:
    """A comment, a quote, a backslash, control characters; others are taken as they are."""
    with pytest.raises(ConfigurationError, match="a rule for sudo cannot hold"):
        rule.expression([text], label="x")
    plain = "a.[b](c){2}*+?^$|,:=!@%~;'é"
    pattern = rule.expression([plain], label="x")
    assert re.fullmatch(pattern, plain)
    assert not re.fullmatch(pattern, plain.replace(".", "x"))


@pytest.mark.parametrize(
    ("command", "run_as", "rest"),
    [
        ("sudo /c", "root", ["/c"]),
        ("/usr/local/bin/sudo -n -H -- /c certonly", "root", ["/c", "certonly"]),
        ("sudo -u certgrinderd-acme -n /c a", "certgrinderd-acme", ["/c", "a"]),
        ("sudo --non-interactive --user=_acme /c", "_acme", ["/c"]),
    ],
)
def test_sudo_command_is_taken_apart(command: str, run_as: str, rest: list[str]) -> None:
    """The options that a rule can answer."""
    parsed = rule.parse_command(command.split(), label="x")
    assert (parsed.run_as, [parsed.program, *parsed.arguments]) == (run_as, rest)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/usr/bin/certbot", "does not run /usr/bin/certbot by sudo"),
        ("", "does not run anything by sudo"),
        ("sudo", "absolute path, not nothing"),
        ("sudo certbot", "absolute path, not 'certbot'"),
        ("sudo -E /c", "not -E"),
        ("sudo -g wheel /c", "not -g"),
        ("sudo A=b /c", "absolute path, not 'A=b'"),
        ("sudo -u", "not -u"),
    ],
)
def test_sudo_command_that_no_rule_can_pin(command: str, reason: str) -> None:
    """And what to write instead."""
    with pytest.raises(ConfigurationError, match=reason):
        rule.parse_command(command.split(), label="x")


@pytest.mark.parametrize(
    "name", ["", "ALL", "a b", "a,b", "%wheel", "#0", "a\n", "+x", "User_Alias="]
)
def test_user_is_a_name(name: str) -> None:
    """Nothing that means somebody else in sudoers."""
    with pytest.raises(UsageError, match="not the name of a user"):
        require_user(name)
    assert require_user("cert.grinder-d_2") == "cert.grinder-d_2"


@pytest.mark.parametrize("value", ["/a b", '/a"', "/a*", "/a\\", "", "/é"])
def test_variable_has_one_plain_value(value: str) -> None:
    """The value is a pattern to sudo: nothing that would match more than itself."""
    command = rule.SudoCommand("root", "/c", ())
    with pytest.raises(ConfigurationError, match="for WEBROOT"):
        rule.render("u", [(command, "^x$")], {"WEBROOT": value})
    text = rule.render("u", [(command, "^x$")], {"WEBROOT": "/a-b_c.d", "ACMEZONE": "_a.b"})
    assert 'Defaults:u env_keep="WEBROOT=/a-b_c.d ACMEZONE=_a.b"\n' in text
    assert text.endswith("\nu ALL=(root) NOPASSWD: /c ^x$\n")


def test_program_is_a_plain_path() -> None:
    """A star or a comma in it would mean something to sudo."""
    for program in ("/a*", "/a,b", "/a b", "/a\\"):
        with pytest.raises(ConfigurationError, match="cannot hold"):
            rule.render("u", [(rule.SudoCommand("root", program, ()), "^x$")], {})


def test_no_rule_without_sudo_or_requests() -> None:
    """What there is instead of a rule."""
    for changed, reason in (
        ({"certbot_command": "/usr/bin/certbot"}, "by sudo: no rule is needed"),
        ({"certbot_command": "builtin"}, "no rule for sudo is needed: certificates come through"),
        ({"acme_zone": None, "web_root": None}, "there are no requests"),
        ({"temp_dir": "tmp"}, "absolute path, not tmp"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            expressions(dataclasses.replace(SETTINGS, **changed))
    assert expressions(SETTINGS)


def test_visudo_takes_what_is_rendered(tmp_path: Path) -> None:
    """The syntax is right; what it means is for the tests with a real sudo."""
    visudo = next(
        (p for p in map(Path, ("/usr/sbin/visudo", "/usr/local/sbin/visudo")) if p.exists()), None
    )
    if visudo is None:
        pytest.skip("visudo is not installed")
    rules = [
        (rule.parse_command(words, label="x"), pattern)
        for (_, words, _), pattern in zip(
            sudoers._certbot_commands(SETTINGS), expressions(SETTINGS), strict=True
        )
    ]
    file = tmp_path / "rule"
    file.write_text(rule.render("certgrinderd", rules, {"ACMEZONE": "a.example"}), "utf-8")
    done = subprocess.run([visudo, "-c", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file.write_text(rule.render("certgrinderd", rules, {}), "utf-8")
    subprocess.run([visudo, "-c", "-f", file], capture_output=True, check=True)
    file.write_text(file.read_text("utf-8").replace("NOPASSWD:", "NOPASSWD"), "utf-8")
    assert subprocess.run([visudo, "-c", "-f", file], capture_output=True, check=False).returncode
