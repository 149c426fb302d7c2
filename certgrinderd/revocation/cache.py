"""A folder of OCSP responses, so that a responder is asked once per response."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certgrinderd.errors import ConfigurationError
from certgrinderd.system import locks
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.files import write_private

# Responses are valid for days. A client may send more and more certificates, so there is a limit.
_LONGEST_KEPT = 30 * 86400
_MOST_KEPT = 5000

_OURS = re.compile(r"ocsp-[0-9a-f]{64}\.(der|lock|[0-9a-f]{16}\.new)")


class Entry:
    """The place for the response about one certificate by one issuer."""

    def __init__(
        self, folder: str, certificate: x509.Certificate, issuer: x509.Certificate
    ) -> None:
        """Name a place; nothing is read or written yet.

        Args:
            folder: The setting `cache-dir`; it must exist and belong to us alone.
            certificate: What the response is about.
            issuer: Its issuer.
        """
        prints = certificate.fingerprint(hashes.SHA256()) + issuer.fingerprint(hashes.SHA256())
        self._folder = Path(folder)
        self._stem = f"ocsp-{hashlib.sha256(prints).hexdigest()}"

    def is_ours(self) -> bool:
        """Whether the folder belongs to us: root must leave no files in another user's cache.

        Raises:
            ConfigurationError: There is no such folder.
        """
        try:
            return self._folder.stat().st_uid == os.geteuid()
        except OSError as error:
            raise self._unusable(error) from error

    def read(self, limit: int) -> bytes | None:
        """Return the response in the cache, not verified; None if there is none.

        Args:
            limit: The most bytes; a larger file is cut off, and fails to parse.

        Raises:
            ConfigurationError: The folder can't be used.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open(os.open(self._folder / f"{self._stem}.der", flags), "rb") as file:
                return file.read(limit)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def write(self, data: bytes) -> None:
        """Keep a response in the place of an older one: readers see the one or the other, whole.

        Raises:
            ConfigurationError: The folder can't be used.
        """
        new = self._folder / f"{self._stem}.{os.urandom(8).hex()}.new"
        try:
            try:
                write_private(new, data)
                new.replace(self._folder / f"{self._stem}.der")
            except BaseException:
                new.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._unusable(error) from error

    @contextlib.contextmanager
    def locked(self, deadline: Deadline) -> Iterator[None]:
        """Be the only one who fetches this response.

        Args:
            deadline: How long to wait for another one.

        Raises:
            ConfigurationError: The folder can't be used.
            LockTimeout: Another one took longer.
        """
        try:
            # Not in write(): a run that gets no response leaves a lock file too.
            self._prune()
        except OSError as error:
            raise self._unusable(error) from error
        path = str(self._folder / f"{self._stem}.lock")
        with locks.held(path, note="get ocsp", deadline=deadline, label="cache-dir"):
            yield

    def _prune(self) -> None:
        """Remove what is too old, and the oldest files if there are too many.

        Lock files too: if one that is held is removed, the responder may be asked twice.
        """
        found = []
        for entry in os.scandir(self._folder):
            if _OURS.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
        found.sort(reverse=True)
        oldest = time.time() - _LONGEST_KEPT
        for number, (modified, path) in enumerate(found):
            if modified < oldest or number >= 2 * _MOST_KEPT:
                Path(path).unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"cache-dir: cannot use {self._folder}: {error.strerror}")
