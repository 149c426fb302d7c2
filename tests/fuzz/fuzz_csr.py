"""Coverage-guided fuzzing of everything that reads a CSR, or a chain that a client sends.

    python tests/fuzz/fuzz_csr.py [option of libFuzzer …] [folder with a corpus]

It ends at the first exception that is none of ours, or at an input that takes over ten seconds, and
leaves that input in the folder it was started in; give that file as the only argument to see it
again. -max_total_time=SECONDS bounds it; without that it goes on for ever.

The first octet of an input says what the rest is: what comes on standard input, the DER inside PEM,
or parts of a CSR that is put together and signed, since nothing gets past an invalid signature.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["certgrinderd", "idna"]):
    import idna  # noqa: F401 - a late import inside names would not be instrumented

    from certgrinderd.errors import CertgrinderdError
    from certgrinderd.pki import certificates, describe
    from certgrinderd.pki.csr import parse_csr, requested_names
    from certgrinderd.pki.extensions import ignored
    from certgrinderd.policy import parse_domainsets, require_permitted
    from tests.testbed import der, forge

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
DOMAINSETS = parse_domainsets("a.example,b.example,*.example,xn--plse-gra.example")
LONGEST_MESSAGE = 1000


def read_csr(pem: bytes) -> None:
    """What `get certificate` and `show csr` do with their input."""
    csr = parse_csr(pem)
    describe.csr(csr)
    ignored(csr)
    requested = requested_names(csr)
    permitted = require_permitted(requested, DOMAINSETS)
    if not set(requested.names) <= permitted:
        raise AssertionError("permitted, but not in the domainset")


def read_der(content: bytes) -> None:
    """A block with the right label around anything."""
    read_csr(forge.pem(content))


def read_names(content: bytes) -> None:
    """Subject alternative names: dNSNames, separated by NULs."""
    read_csr(forge.pem(forge.csr(*(der.tlv(0x82, name) for name in content.split(b"\0")))))


def read_general_names(content: bytes) -> None:
    """The inside of the extension with the names."""
    read_csr(forge.pem(forge.csr(content)))


def read_extension(content: bytes) -> None:
    """A requested extension: the last arc below 2.5.29, and its value."""
    oid = f"2.5.29.{content[0] % 128}" if content[:1] < b"\x80" else "1.3.6.1.5.5.7.1.24"
    extension = forge.extension(oid, content[1:])
    read_csr(forge.pem(forge.csr("a.example", extensions=[extension])))


def read_attributes(content: bytes) -> None:
    """All attributes."""
    read_csr(forge.pem(forge.csr(attributes=[content])))


def read_subject(content: bytes) -> None:
    """The value of the CN, with its type first."""
    tag, value = content[0], content[1:]
    name = der.sequence(der.oid(forge.COMMON_NAME), der.tlv(tag, value))
    read_csr(forge.pem(forge.csr("a.example", subject=forge.distinguished_name(name))))


def read_key(content: bytes) -> None:
    """The public key."""
    key = forge.ec_key(forge.p256_private(), spki=content or b"\0")
    read_csr(forge.pem(forge.csr("a.example", key=key)))


def read_chain(text: bytes) -> None:
    """What `show certificate` does with its input."""
    describe.chain(certificates.parse_chain(text), now=NOW)


def read_certificate(content: bytes) -> None:
    """A block with the right label around anything."""
    read_chain(forge.pem(content, label="CERTIFICATE"))


READERS: list[Callable[[bytes], None]] = [
    read_csr,
    read_der,
    read_names,
    read_general_names,
    read_extension,
    read_attributes,
    read_subject,
    read_key,
    read_chain,
    read_certificate,
]


def read(data: bytes) -> None:
    """Read one input; anything but a value or one of our errors ends the fuzzing."""
    if len(data) < 2:
        return
    try:
        READERS[data[0] % len(READERS)](data[1:])
    except CertgrinderdError as error:
        message = str(error)
        if not message.isprintable() or len(message) > LONGEST_MESSAGE:
            raise AssertionError(f"not one short line: {message!r}") from error


def seeds() -> list[bytes]:
    """Inputs to begin with, one for each reader and each hostile CSR."""
    from tests.testbed.hostile import all_cases

    good = forge.csr("a.example", "*.example")
    found = [
        b"\1" + good,
        b"\2a.example\0*.example\0xn--plse-gra.example",
        b"\3" + der.tlv(0x82, b"a.example") + der.tlv(0x87, b"\x7f\0\0\1"),
        b"\4\x0f\x03\x02\x05\xa0",
        b"\4\x13\x30\x03\x01\x01\xff",
        b"\5" + forge.extension_request(forge.alternative_names("a.example")),
        b"\6\x0ca.example",
        b"\7" + forge.p256().spki,
        b"\7" + forge.rsa_of(*forge.primes()).spki,
    ]
    access = der.sequence(der.sequence(der.oid("1.3.6.1.5.5.7.48.1"), der.tlv(0x86, b"http://a/")))
    certificate = forge.certificate(
        forge.alternative_names("a.example"), forge.extension("1.3.6.1.5.5.7.1.1", access)
    )
    found += [
        b"\x08" + forge.pem(certificate, label="CERTIFICATE") * 2,
        b"\x09" + certificate,
    ]
    return [*found, *(b"\0" + case.hostile()[:4096] for case in all_cases())]


def main() -> None:
    """Fuzz; a corpus folder that is empty or missing is filled with seeds first."""
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    for folder in folders:
        if folder.is_file():
            break
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            for number, seed in enumerate(seeds()):
                (folder / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup(["fuzz_csr", "-timeout=10", "-max_len=4096", *sys.argv[1:]], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
