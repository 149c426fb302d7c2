"""Who is at the other end: what sshd tells about a client."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping

from certgrinderd.errors import ConfigurationError
from certgrinderd.system.files import read_file

_LARGEST_AUTH_FILE = 65536


def client_of(environment: Mapping[str, str]) -> str:
    """Name the client: "client 192.0.2.7, key SHA256:…".

    Args:
        environment: SSH_CONNECTION starts with the client's address; SSH_USER_AUTH is the path of a
            file that holds its key, if sshd has `ExposeAuthInfo yes` (sshd_config(5)).
    """
    address = environment.get("SSH_CONNECTION", "").partition(" ")[0] or "at an unknown address"
    key = _fingerprint(environment.get("SSH_USER_AUTH"))
    return f"client {address}" + (f", key {key}" if key else "")


def queue_of(environment: Mapping[str, str]) -> str | None:
    """Return a word for a file name that is the client's alone; None if nobody knows the client.

    Args:
        environment: See client_of. The key counts, or where sshd doesn't tell it, the address.
    """
    address = environment.get("SSH_CONNECTION", "").partition(" ")[0]
    client = _fingerprint(environment.get("SSH_USER_AUTH")) or address
    return hashlib.sha256(client.encode()).hexdigest()[:16] if client else None


def _fingerprint(path: str | None) -> str | None:
    """The key's fingerprint, as sshd logs it and `ssh-keygen -l` shows it."""
    if path is None:
        return None
    try:
        lines = read_file(path, limit=_LARGEST_AUTH_FILE, label="SSH_USER_AUTH").splitlines()
        blob = next(line.split()[2] for line in lines if line.startswith(b"publickey "))
        digest = hashlib.sha256(base64.b64decode(blob, validate=True)).digest()
    except (ConfigurationError, StopIteration, IndexError, binascii.Error):
        return None
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")
