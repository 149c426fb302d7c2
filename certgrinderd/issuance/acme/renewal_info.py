"""When a CA wants a certificate to be renewed (ARI, RFC 9773)."""

from __future__ import annotations

import re

from cryptography import x509

from certgrinderd.errors import AcmeError, MalformedInput
from certgrinderd.issuance.acme.jws import b64encode
from certgrinderd.issuance.acme.session import Session, json_object, retry_after
from certgrinderd.pki.certificates import extensions_of

# RFC 3339, as far as a CA needs it.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_LONGEST_URL = 2000
# A SHA-512 has as many bytes; a serial number has 20 (RFC 5280 section 4.1.2.2).
_LONGEST_KEY_IDENTIFIER = 64
_LONGEST_SERIAL_BITS = 160


def certificate_id(certificate: x509.Certificate) -> str:
    """Return the identifier by which a CA knows a certificate (RFC 9773 section 4.1).

    Raises:
        MalformedInput: It does not name its issuer's key, or its identifier would be too long.
    """
    try:
        authority = extensions_of(certificate).get_extension_for_class(x509.AuthorityKeyIdentifier)
        key_identifier = authority.value.key_identifier
    except (x509.ExtensionNotFound, ValueError) as error:
        raise MalformedInput(f"the certificate names no authority key: {error}") from error
    if not key_identifier or len(key_identifier) > _LONGEST_KEY_IDENTIFIER:
        raise MalformedInput(
            "the certificate names no authority key, or by more than "
            f"{_LONGEST_KEY_IDENTIFIER} bytes"
        )
    serial = certificate.serial_number
    if serial.bit_length() > _LONGEST_SERIAL_BITS:
        raise MalformedInput("the certificate's serial number has more than 20 bytes")
    # The value of an INTEGER in DER: one more bit, for the sign.
    data = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{b64encode(key_identifier)}.{b64encode(data)}"


def ask(session: Session, certificate: x509.Certificate) -> str:
    """Ask the CA when a certificate should be renewed.

    Args:
        session: With the CA that issued it; no account is needed.
        certificate: The leaf.

    Returns:
        Lines of the form "name: value": certificate-id, suggested-window-start,
        suggested-window-end (both RFC 3339), and explanation-url and retry-after (seconds until it
        makes sense to ask again) if the CA says so.

    Raises:
        MalformedInput: See certificate_id.
        AcmeError: The CA does not tell.
        Unreachable: The CA does not answer.
    """
    identifier = certificate_id(certificate)
    url = f"{session.url('renewalInfo').rstrip('/')}/{identifier}"
    answer = session.get(url)
    found = json_object(answer, url)
    window = found.get("suggestedWindow")
    times = [window.get(name) if isinstance(window, dict) else None for name in ("start", "end")]
    if not all(isinstance(time, str) and _TIME.fullmatch(time) for time in times):
        raise AcmeError("the CA's renewal information has no suggested window of two times")
    facts = {
        "certificate-id": identifier,
        "suggested-window-start": times[0],
        "suggested-window-end": times[1],
    }
    explanation = found.get("explanationURL")
    if isinstance(explanation, str) and re.fullmatch(r"https?://[!-~]+", explanation):
        facts["explanation-url"] = explanation[:_LONGEST_URL]
    seconds = retry_after(answer)
    if seconds is not None:
        facts["retry-after"] = f"{seconds:.0f}"
    return "".join(f"{name}: {value}\n" for name, value in facts.items())
