"""Lines of authorized_keys: read as sshd reads them, written so that sshd reads them back."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import MalformedInput
from certgrinderd.setup.clients.line import (
    LONGEST_VALUE,
    Line,
    LineIgnored,
    PublicKey,
    parse_line,
    parse_public_key,
)

# The public half of a key that nobody has.
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOegnR+qnK2FEoaSrVwHgCIxjFkVEbW4VO31/Hd2mAwk"
KEY = parse_public_key(f"{ED25519} client.example")


def openssh(
    private_key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> str:
    """The public key as ssh-keygen writes it, without a comment."""
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private_key.public_key().public_bytes(*form).decode("ascii")


def by_hand(kind: str, *fields: bytes, more: bytes = b"") -> str:
    """A key made of its parts (RFC 4253 section 6.6), right or wrong."""
    strings = (kind.encode(), *fields)
    data = b"".join(len(each).to_bytes(4, "big") + each for each in strings) + more
    return f"{kind} {base64.b64encode(data).decode()}"


SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
POINT = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
)
COMPRESSED = bytes([2 + POINT[-1] % 2]) + POINT[1:33]
MODULUS = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_numbers().n
).to_bytes(257, "big")
ALL_TYPES = [
    ED25519,
    openssh(ed25519.Ed25519PrivateKey.generate()),
    openssh(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    *(
        openssh(ec.generate_private_key(c))
        for c in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
    ),
    # Of security keys: `ssh-keygen -t ed25519-sk` and `-t ecdsa-sk` make these.
    by_hand(SK_ED25519, bytes(32), b"ssh:"),
    by_hand(SK_ECDSA, b"nistp256", POINT, b"ssh:backup"),
]


@pytest.mark.parametrize("text", ALL_TYPES, ids=[text.split()[0] for text in ALL_TYPES])
def test_key_is_read_and_written_back(text: str) -> None:
    """Every type that sshd knows, with and without a comment, alone and on a line."""
    for written in (text, f"{text} a comment"):
        key = parse_public_key(f"# a remark\n{written}\n\n")
        assert str(key) == written
        assert parse_line(written) == Line((), key)
        assert parse_line(f"\t restrict,pty {written}\r") == Line(
            (("restrict", None), ("pty", None)), key
        )


def test_fingerprint_is_that_of_ssh_keygen() -> None:
    """`ssh-keygen -l` says the same."""
    assert KEY.fingerprint == "SHA256:whSkszNFVz7yM0j9NDxw1SFVIOIpeIsQBtMBaXY7VdI"


@pytest.mark.parametrize("text", ["", "   ", "\t", "\r", "# ssh-ed25519 AAAA", "  # x"])
def test_nothing_is_on_an_empty_line_or_in_a_comment(text: str) -> None:
    """They let nobody in, and nothing is wrong with them."""
    assert parse_line(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("restrict", "there is no key", id="options alone"),
        pytest.param("garbage", "there is no key", id="a word"),
        pytest.param(f"restrict {ED25519[:-1]}", "not a key in base64", id="a cut key"),
        pytest.param(f"{ED25519}=", "unknown key type", id="too much padding"),
        pytest.param(f"restrict {ED25519[:40]} {ED25519[40:]}", "damaged", id="a split key"),
        pytest.param(f"restrict {ED25519[:-4]}", "damaged", id="a short key"),
        pytest.param(
            f"restrict {ED25519.replace('ssh-ed25519', 'ssh-rsa')}", "damaged", id="another type"
        ),
        pytest.param(f"restrict {ED25519.replace('ssh-', 'ssl-')}", "unknown key type", id="type"),
        pytest.param(f"restrict,; {ED25519}", "expected an option, not ';'", id="a semicolon"),
        pytest.param(f'principals="x" {ED25519}', "cert-authority", id="principals"),
        pytest.param(f"restrict , pty {ED25519}", "unknown key type ','", id="a blank"),
        pytest.param(f"restrct {ED25519}", "unknown option 'restrct'", id="a misspelt option"),
        pytest.param(f"no-restrict {ED25519}", "unknown option", id="no-restrict"),
        pytest.param(f"restrict=x {ED25519}", "takes no value", id="a value too much"),
        pytest.param(f'restrict="x" {ED25519}', "takes no value", id="a quoted value too much"),
        pytest.param(f"command {ED25519}", "needs a value", id="a value too few"),
        pytest.param(f"command=ls {ED25519}", "double quotes", id="a value without quotes"),
        pytest.param(f"command= {ED25519}", "double quotes", id="nothing for a value"),
        pytest.param(f"command='ls' {ED25519}", "double quotes", id="single quotes"),
        pytest.param(f'command="ls {ED25519}', "not closed", id="an open quote"),
        pytest.param(f'command="ls\\" {ED25519}', "not closed", id="a backslash before the quote"),
        pytest.param(
            f'command="a"b {ED25519}', "expected a comma after command", id="more after the quote"
        ),
        pytest.param(f'command="a",command="b" {ED25519}', "twice", id="two commands"),
        pytest.param(f'from="::1",from="::2" {ED25519}', "twice", id="two from"),
        pytest.param(f'environment="x" {ED25519}', "NAME=VALUE", id="a variable without a value"),
        pytest.param(f'environment="a-b=x" {ED25519}', "NAME=VALUE", id="a variable's odd name"),
        pytest.param(f'expiry-time="soon" {ED25519}', "YYYYMMDD", id="a time"),
        pytest.param(f"restrict\0 {ED25519}", "NUL", id="a NUL"),
        pytest.param(f"{ED25519}\0", "NUL", id="a NUL at the end"),
    ],
)
def test_line_that_sshd_ignores(text: str, reason: str) -> None:
    """Nobody is told by sshd; see tests/integration for the proof that it does."""
    with pytest.raises(LineIgnored, match=reason):
        parse_line(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(by_hand("ssh-ed25519", bytes(31)), id="a short Ed25519 key"),
        pytest.param(by_hand("ssh-ed25519", bytes(33)), id="a long Ed25519 key"),
        pytest.param(by_hand("ssh-ed25519", bytes(32), b""), id="a field too many"),
        pytest.param(by_hand("ssh-ed25519", bytes(32), more=b"\0"), id="a byte too many"),
        pytest.param(by_hand("ssh-ed25519"), id="a field too few"),
        pytest.param(by_hand("ssh-rsa", b"\1\0\1", MODULUS[1:]), id="a negative modulus"),
        pytest.param(by_hand("ssh-rsa", b"\x81\0\1", MODULUS), id="a negative exponent"),
        pytest.param(by_hand("ssh-rsa", b"\1\0\1", b""), id="a modulus of zero"),
        pytest.param(by_hand("ssh-rsa", b"", MODULUS), id="an exponent of zero"),
        pytest.param(by_hand("ecdsa-sha2-nistp256", b"nistp384", POINT), id="another curve"),
        pytest.param(by_hand("ecdsa-sha2-nistp256", b"nistp256", b""), id="no point"),
        pytest.param(by_hand("ecdsa-sha2-nistp256", b"nistp256", COMPRESSED), id="compressed"),
        pytest.param(
            by_hand("ecdsa-sha2-nistp256", b"nistp256", POINT[:-1] + bytes([POINT[-1] ^ 1])),
            id="a point beside the curve",
        ),
        pytest.param(by_hand(SK_ED25519, bytes(32)), id="no application"),
        pytest.param(by_hand(SK_ECDSA, b"nistp256", COMPRESSED, b"ssh:"), id="compressed, sk"),
    ],
)
def test_key_that_is_wrong_inside_is_refused(text: str) -> None:
    """By the type that it claims, its fields must be there, of the right size, and no more."""
    with pytest.raises(LineIgnored, match="is damaged, or a key of another type"):
        parse_line(f"restrict {text}")
    with pytest.raises(MalformedInput, match="damaged"):
        parse_public_key(text)


@pytest.mark.parametrize(
    "text",
    [
        by_hand("ssh-dss", b"\1", b"\1", b"\1", b"\1"),
        by_hand("ssh-ed25519-cert-v01@openssh.com", bytes(32), bytes(32)),
        by_hand("ssh-ed448", bytes(57)),
        by_hand("SSH-ED25519", bytes(32)),
    ],
)
def test_type_that_lets_nobody_in_is_refused(text: str) -> None:
    """Whatever the library that reads keys could read: DSA keys and certificates too."""
    with pytest.raises(LineIgnored, match="unknown key type"):
        parse_line(f"restrict {text}")
    with pytest.raises(MalformedInput, match="unknown key type"):
        parse_public_key(text)


@pytest.mark.parametrize("wrong", ["AAAAC3Nz", "!AAAA", "AAAA\v", "AAAA=", "ÄAAA"])
def test_base64_is_read_as_strictly_as_by_sshd(wrong: str) -> None:
    """No character is skipped, not even one that belongs to no alphabet."""
    kind, data = ED25519.split()
    assert parse_line(f"{kind} {data}") is not None
    for text in (f"{kind} {wrong}{data}", f"{kind} {data}{wrong}"):
        with pytest.raises(LineIgnored, match=r"not a key in base64|is damaged"):
            parse_line(f"restrict {text}")


@pytest.mark.parametrize(
    "options",
    [
        'restrict, command="/c"',
        'restrict command="/c"',
        "restrict,command=/c --config-file /etc/c.conf",
        'restrict,command="/c" ,pty',
        'restrict,command= "/c"',
    ],
)
def test_blank_or_missing_quote_is_named(options: str) -> None:
    """Not only the word that sshd takes for a type of key then; a wrong key gets no such hint."""
    with pytest.raises(LineIgnored, match="a blank or a missing quote in the options"):
        parse_line(f"{options} {ED25519}")
    for key in (ED25519[:-1], ED25519.replace("ssh-", "ssh-x"), ""):
        with pytest.raises(LineIgnored) as caught:
            parse_line(f'restrict,command="/c" {key}')
        assert "quote" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (",restrict,,pty,", [("restrict", None), ("pty", None)]),
        ("RESTRICT,No-PTY,Pty", [("restrict", None), ("no-pty", None), ("pty", None)]),
        ('command="a \\"b\\" \\\\c"', [("command", 'a "b" \\\\c')]),
        ('environment="A=,=\\""', [("environment", 'A=,="')]),
        ('environment="A=1",environment="A=2"', [("environment", "A=1"), ("environment", "A=2")]),
        ('from="a,b c",expiry-time="20300101Z"', [("from", "a,b c"), ("expiry-time", "20300101Z")]),
        ('command=""', [("command", "")]),
    ],
)  # fmt: skip
def test_options_are_read(options: str, expected: list[tuple[str, str | None]]) -> None:
    """Any case, quotes inside, blanks and commas between quotes."""
    line = parse_line(f"{options} {ED25519}")
    assert line is not None
    assert list(line.options) == expected


VALUES = st.text(
    st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters="\\")
).filter(str.isprintable)
OPTIONS = st.lists(
    st.one_of(
        st.sampled_from([("restrict", None), ("pty", None), ("no-user-rc", None)]),
        VALUES.map(lambda value: ("environment", f"A={value}")),
        VALUES.map(lambda value: ("permitopen", value)),
    ),
    min_size=1,
)


@given(options=OPTIONS, command=st.none() | VALUES)
def test_what_is_written_is_read_back(
    options: list[tuple[str, str | None]], command: str | None
) -> None:
    """Whatever the values hold, quotes and blanks included."""
    if command is not None:
        options = [*options, ("command", command)]
    line = Line(tuple(options), KEY)
    assert parse_line(str(line)) == line


@pytest.mark.parametrize(
    "value", ["a\\", 'a\\"', "a\nb", "a\0", "a\x1b[0m", "x" * (LONGEST_VALUE + 1), "\u202e"]
)
def test_value_that_sshd_would_misread_is_not_written(value: str) -> None:
    """A backslash can take the end of the value away; the longest value still starts a program."""
    with pytest.raises(MalformedInput, match=r"command= (cannot hold|would be)"):
        str(Line((("command", value),), KEY))
    assert len(str(Line((("command", "x" * LONGEST_VALUE),), KEY))) > LONGEST_VALUE


@given(st.text())
def test_any_line_is_read_or_ignored(text: str) -> None:
    """A line never ends in anything but a value or the reason why sshd ignores it."""
    for line in (text, f"{text} {ED25519}", f'command="{text}" {ED25519}', f"ssh-ed25519 {text}"):
        with contextlib.suppress(LineIgnored):
            parsed = parse_line(line)
            assert parsed is None or isinstance(parsed.key, PublicKey)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_key_or_not(data: bytes) -> None:
    """Base64 of anything, under each type."""
    for kind in ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"):
        text = f"{kind} {base64.b64encode(data).decode()}"
        with contextlib.suppress(MalformedInput):
            assert str(parse_public_key(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "not 0 lines", id="nothing"),
        pytest.param("# x\n", "not 0 lines", id="a remark"),
        pytest.param(f"{ED25519}\n{ED25519}\n", "not 2 lines", id="two keys"),
        pytest.param(f"restrict {ED25519}", "expected a public key", id="a line with options"),
        pytest.param(
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "replace it", id="a private key"
        ),
        pytest.param("-----BEGIN RSA PRIVATE KEY-----", "replace it", id="an old private key"),
        pytest.param("---- BEGIN SSH2 PUBLIC KEY ----", "expected a public key", id="RFC 4716"),
        pytest.param(f"{ED25519} a\x1bb", "control characters", id="an escape in the comment"),
    ],
)
def test_public_key_alone_is_expected(text: str, reason: str) -> None:
    """One, and no options that nobody asked for."""
    with pytest.raises(MalformedInput, match=reason):
        parse_public_key(text)
    assert parse_public_key(ED25519).comment == ""
