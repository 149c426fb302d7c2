"""Orders that a test places, and what it expects of them."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Sequence

from cryptography import x509

from tests.testbed.csr import Request
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.service import Service

StartPebble = Callable[..., Pebble]
Answer = subprocess.CompletedProcess[bytes]

_numbers = itertools.count()


def new_names(count: int = 1) -> list[str]:
    """Names that no CA has a proof for yet."""
    return [f"n{next(_numbers)}.acme-client.example.test" for _ in range(count)]


def get(service: Service, request: Request, *words: str) -> Answer:
    """Ask for a certificate that is permitted."""
    names = request.csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    permitted = ",".join(
        f"ip:{name.value}" if isinstance(name, x509.IPAddress) else str(name.value)
        for name in names
    )
    return service.run(
        *words,
        *("get", "certificate"),
        stdin=request.pem,
        environment={"CERTGRINDERD_DOMAINSETS": permitted},
    )


def require_chain(answer: Answer, request: Request) -> list[x509.Certificate]:
    """The answer is a chain for the request, and all log lines are in order."""
    assert answer.returncode == 0, answer.stderr.decode()
    chain = x509.load_pem_x509_certificates(answer.stdout)
    assert chain[0].public_key() == request.key.public_key()
    return chain


def require_no_challenge(named: Named, nginx: Nginx, names: Sequence[str]) -> None:
    """Nothing of a challenge is left in the zone or the web root."""
    assert [named.challenges(name) for name in names] == [[]] * len(names)
    folder = nginx.webroot / ".well-known/acme-challenge"
    assert not folder.exists() or list(folder.iterdir()) == []
