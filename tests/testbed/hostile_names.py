"""Hostile requests: names, subjects, attributes and extensions."""

from __future__ import annotations

from cryptography import x509

from tests.testbed import der, forge
from tests.testbed.forge import NAME, csr, extension, pem
from tests.testbed.hostile import HUNDRED, Case, good

A, B, C = (f"{label}.csr.example.test" for label in "abc")
EVIL = "www.example.org"

TWO_SETS = "all names of a certificate must be in one domainset"
KIND = "asks for a subject alternative name of the kind {}: only host names"
UNREADABLE = "the extensions of the CSR cannot be read"
ELSEWHERE = "requests extensions in more than one place"


def late(title: str, hostile: bytes, reason: str, honest: bytes | None = None) -> Case:
    """A CSR that is well made, with names that the client may not have."""
    return Case(
        title, lambda: pem(hostile), reason, lambda: pem(honest) if honest else good(), "policy"
    )


def early(title: str, hostile: bytes, reason: str, honest: bytes | None = None) -> Case:
    """A CSR that asks for things that nobody may have."""
    return Case(title, lambda: pem(hostile), reason, lambda: pem(honest) if honest else good())


def name(shown: str, reason: str, honest: str = A) -> Case:
    """A dNSName that is none, behind a good one."""
    title = f"dNSName {shown[:40]!r}" + (f" of {len(shown)} characters" if len(shown) > 40 else "")
    return late(title, csr(A, shown), reason, csr(A, honest))


def asks(title: str, oid: str, value: bytes, reason: str = "", honest: bytes = b"") -> Case:
    """A requested extension, in place of one that is harmless or next to none."""
    reason = reason or "asks for the extension .* not the requester's to choose"
    more = [extension(oid, honest)] if honest else []
    return early(title, csr(extensions=[extension(oid, value)]), reason, csr(extensions=more))


def named(*attributes: bytes) -> bytes:
    """A CSR with this subject."""
    return csr(subject=forge.distinguished_name(*attributes))


def cn(tag: int, content: bytes) -> bytes:
    """A CN of any type."""
    return der.sequence(der.oid(forge.COMMON_NAME), der.tlv(tag, content))


def requests(*attributes: bytes) -> bytes:
    """A CSR with these attributes."""
    return csr(attributes=attributes)


def value(of: x509.ExtensionType) -> bytes:
    """The inside of an extension."""
    return of.public_bytes()


def uses(*oids: str) -> bytes:
    """The inside of an extendedKeyUsage."""
    return der.sequence(*map(der.oid, oids))


SERVER_AUTH, CLIENT_AUTH = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
PERMITTED = x509.NameConstraints([x509.DNSName(EVIL)], None)
WITH_A, WITH_EVIL = (forge.alternative_names(each) for each in (A, EVIL))
LONGEST_CN = "a" * 47 + ".csr.example.test"
assert len(LONGEST_CN) == 64
LONG = ".".join(["a" * 60] * 4)

CASES = [
    # Names that are names, for somebody else.
    late("foreign name", csr(EVIL), "may not have www.example.org", csr(A)),
    late("foreign name behind a good one", csr(A, EVIL), "may not have www.example.org", csr(A, B)),
    late("names of two domainsets", csr(A, C), TWO_SETS, csr(A, B)),
    late(
        "wildcard that covers more", csr("*.a.csr.example.test"), "may not have", csr("*." + A[2:])
    ),
    late("name below a wildcard", csr("z.csr.example.test"), "may not have", csr("*." + A[2:])),
    late("name above", csr("csr.example.test"), "may not have", csr(A)),
    late(
        "a hundred foreign names",
        csr("a.example.org", *(f"{'a' * 60}.n{number}.example.org" for number in range(99))),
        "example.org and 90 more",
        csr(*HUNDRED[:100]),
    ),
    late(
        "more names than allowed", csr(*HUNDRED), "101 names: 100 are allowed", csr(*HUNDRED[:100])
    ),
    # Names that are not host names.
    late("IP address", csr(A, der.tlv(0x87, b"\x7f\0\0\1")), "may not have ip:127.0.0.1"),
    late("email address", csr(A, der.tlv(0x81, b"root@a")), KIND.format("RFC822Name")),
    late("URI", csr(A, der.tlv(0x86, b"https://a/")), KIND.format("UniformResourceIdentifier")),
    late("registered ID", csr(A, der.tlv(0x88, b"\x2a\x03")), KIND.format("RegisteredID")),
    late(
        "user principal name",
        csr(
            A,
            der.tlv(
                0xA0,
                der.oid("1.3.6.1.4.1.311.20.2.3"),
                der.tlv(0xA0, der.tlv(der.UTF8_STRING, b"root@a")),
            ),
        ),
        KIND.format("OtherName"),
    ),
    late(
        "directory name",
        csr(A, der.tlv(0xA4, forge.distinguished_name(forge.text(EVIL)))),
        KIND.format("DirectoryName"),
    ),
    early("X.400 address", csr(A, der.tlv(0xA3, b"")), UNREADABLE),
    early("EDI party name", csr(A, der.tlv(0xA5, b"")), UNREADABLE),
    late(
        "dNSName in UTF-8",
        csr(A, "pølse.csr.example.test"),
        "xn-- form",
        csr(A, "xn--plse-gra.csr.example.test"),
    ),
    name("a.csr.example.test\0.example.org", "is not a host name"),
    name("a.csr.example.test\n", "is not a host name"),
    name("\x1b[2J.csr.example.test", "is not a host name"),
    name("$(touch canary).example.test", "is not a host name"),
    name("a;touch canary;.example.test", "is not a host name"),
    name("../../etc/passwd", "has an empty label"),
    name("a.csr.example.test b.csr.example.test", "is not a host name"),
    name("a.csr.example.test,www.example.org", "is not a host name", B),
    name("--pre-hook.csr.example.test", "is not a host name", "a-b.csr.example.test"),
    name("-a.csr.example.test", "is not a host name", "a-b.csr.example.test"),
    name("a_b.csr.example.test", "is not a host name", "a-b.csr.example.test"),
    name("a.csr.example.test.", "ends with a dot"),
    name("", "a name is empty"),
    name("a..csr.example.test", "has an empty label"),
    name("a" * 64 + ".csr.example.test", "label longer than 63"),
    name(LONG + ".csr.example.test", "longer than 253"),
    name("a." * 10000 + "test", "longer than 253"),
    name("127.0.0.1", "ends with a number"),
    name("2130706433", "ends with a number"),
    name("0x7f.0x1", "ends with a number"),
    name("*", "is not a host name", "*.csr.example.test"),
    name("*.*.example.test", "a wildcard is", "*.csr.example.test"),
    name("a.*.example.test", "a wildcard is", "*.csr.example.test"),
    name("a*.csr.example.test", "a wildcard is", "*.csr.example.test"),
    name("ab--cd.csr.example.test", "reserved label", "a-b.csr.example.test"),
    name("xn--a-.csr.example.test", "IDNA", "xn--plse-gra.csr.example.test"),
    name("xn--q" + "\x7f" * 200 + ".csr.example.test", "IDNA", "xn--plse-gra.csr.example.test"),
    name("xn--999999999.csr.example.test", "IDNA", "xn--plse-gra.csr.example.test"),
    # Subjects.
    late("no subject alternative name", requests(), "has no subject alternative name"),
    late(
        "empty list of names",
        requests(
            forge.extension_request(extension(forge.SUBJECT_ALTERNATIVE_NAME, der.sequence()))
        ),
        "has no subject alternative name",
    ),
    late("no CN", named(), "exactly one CN; it has none"),
    late("two CNs", named(forge.text(NAME), forge.text(B)), "exactly one CN"),
    late("CN that is not among the names", csr(A, common_name=B), "is not among", csr(A, B)),
    late("foreign CN", csr(A, common_name=EVIL), "is not among"),
    late("CN with a NUL", csr(A, common_name=A + "\0"), "is not a host name"),
    late("CN in Unicode", csr(A, common_name="pølse.csr.example.test"), "xn-- form"),
    early(
        "CN of 65 characters",
        csr(A, common_name="a" * 65),
        "a CN may have 64 characters",
        csr(LONGEST_CN),
    ),
    late("CN as BMPString", named(cn(der.BMP_STRING, A.encode("utf-16-be"))), "UTF8String"),
    late(
        "CN as UniversalString", named(cn(der.UNIVERSAL_STRING, A.encode("utf-32-be"))), "UTF8Str"
    ),
    late(
        "CN as TeletexString",
        named(cn(der.TELETEX_STRING, A.encode())),
        "UTF8String",
        named(cn(der.PRINTABLE_STRING, A.encode())),
    ),
    early("CN as BIT STRING", named(cn(der.BIT_STRING, b"\0" + A.encode())), "subject .* be read"),
    early("CN that is not UTF-8", named(cn(der.UTF8_STRING, b"\xff\xfe")), "subject .* be read"),
    late(
        "organization",
        named(forge.text(NAME), forge.text("system:masters", oid=forge.ORGANIZATION)),
        "more than a CN: leave out organizationName",
    ),
    late(
        "email address in the subject",
        named(forge.text(NAME), forge.text("a@a", tag=der.IA5_STRING, oid=forge.EMAIL_ADDRESS)),
        "more than a CN: leave out emailAddress",
    ),
    late(
        "two attributes in one RDN",
        csr(subject=der.sequence(der.set_of(forge.text(NAME), forge.text("x", oid="2.5.4.11")))),
        "more than a CN: leave out organizationalUnitName",
    ),
    # Extensions where we do not look, or twice.
    early(
        "second extensionRequest attribute",
        requests(forge.extension_request(WITH_A), forge.extension_request(WITH_EVIL)),
        ELSEWHERE,
        requests(
            forge.extension_request(WITH_A),
            forge.attribute(forge.CHALLENGE_PASSWORD, der.tlv(der.UTF8_STRING, b"password")),
        ),
    ),
    early(
        "second value in extensionRequest",
        requests(
            forge.attribute(forge.EXTENSION_REQUEST, der.sequence(WITH_A), der.sequence(WITH_EVIL))
        ),
        "attributes .* cannot be read",
    ),
    early(
        "extensionRequest without a value",
        requests(forge.attribute(forge.EXTENSION_REQUEST)),
        "attributes .* cannot be read",
    ),
    early(
        "Microsoft's attribute next to it",
        requests(
            forge.extension_request(WITH_A),
            forge.attribute(forge.MICROSOFT_EXTENSIONS, der.sequence(WITH_EVIL)),
        ),
        ELSEWHERE,
    ),
    early(
        "Microsoft's attribute alone",
        requests(forge.attribute(forge.MICROSOFT_EXTENSIONS, der.sequence(WITH_A))),
        ELSEWHERE,
    ),
    early(
        "second list of names",
        requests(forge.extension_request(WITH_A, WITH_EVIL)),
        UNREADABLE,
        requests(forge.extension_request(WITH_A)),
    ),
    early("list of names that is none", csr(A, b"\xff\xff"), UNREADABLE),
    # Extensions that would make it another kind of certificate.
    asks(
        "CA certificate", "2.5.29.19", der.sequence(der.TRUE), "certificate of a CA", der.sequence()
    ),
    asks("keyCertSign", "2.5.29.15", b"\x03\x02\x02\x04", "key usage of a CA", b"\x03\x02\x05\xa0"),
    asks("cRLSign", "2.5.29.15", b"\x03\x02\x01\x02", "key usage of a CA", b"\x03\x02\x05\xa0"),
    asks(
        "code signing",
        "2.5.29.37",
        uses(SERVER_AUTH, "1.3.6.1.5.5.7.3.3"),
        "leave out codeSigning",
        uses(SERVER_AUTH, CLIENT_AUTH),
    ),
    asks("any use", "2.5.29.37", uses("2.5.29.37.0"), "leave out 2.5.29.37.0", uses(SERVER_AUTH)),
    asks("OCSP signing", "2.5.29.37", uses("1.3.6.1.5.5.7.3.9"), "leave out OCSPSigning"),
    asks(
        "unknown TLS feature",
        "1.3.6.1.5.5.7.1.24",
        der.sequence(der.integer(99)),
        "cannot be read: unknown TLS feature",
        der.sequence(der.integer(5)),
    ),
    asks("name constraints", "2.5.29.30", value(PERMITTED)),
    asks(
        "certificate policies", "2.5.29.32", der.sequence(der.sequence(der.oid("2.23.140.1.2.2")))
    ),
    asks("no OCSP check", "1.3.6.1.5.5.7.48.1.5", der.NULL),
    asks("precertificate poison", "1.3.6.1.4.1.11129.2.4.3", der.NULL),
    asks("Microsoft's template", "1.3.6.1.4.1.311.20.2", der.tlv(der.BMP_STRING, b"\0C\0A")),
    asks(
        "authority key identifier",
        "2.5.29.35",
        der.sequence(der.tlv(0x80, b"key")),
    ),
    asks("extension that does not parse", "2.5.29.19", b"\xff", UNREADABLE, der.sequence()),
    early(
        "unknown critical extension",
        csr(extensions=[extension("1.2.3.4", b"\x05\0", critical=True)]),
        "asks for the extension 1.2.3.4",
        csr(extensions=[extension("2.5.29.14", der.octet_string(b"key"))]),
    ),
]
