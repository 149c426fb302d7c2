"""The signature of a release, beside the program: build/release makes it, ssh-keygen checks it."""

from __future__ import annotations

from pathlib import Path

from certgrinderd.errors import ConfigurationError
from certgrinderd.system import programs

# As build/release signs; docs/releasing.md tells it to admins.
PRINCIPAL = "certgrinderd-release"
NAMESPACE = "certgrinderd"


def require_signed(program: Path, data: bytes, *, allowed_signers: str) -> None:
    """Require that a program has a signature beside it, by one of the keys in a file.

    A program can't vouch for itself: one that somebody has changed may leave this check out. It
    finds what was mixed up, damaged or never released.

    Args:
        program: The path of the program; that of its signature ends with ".sig".
        data: Its content, which is what gets installed.
        allowed_signers: The file with the keys, in the format of ssh-keygen(1).

    Raises:
        ConfigurationError: It has none, it is invalid, or a file or ssh-keygen is missing.
    """
    signature = program.with_name(f"{program.name}.sig")
    for path, what in ((Path(allowed_signers), "--allowed-signers"), (signature, "the signature")):
        if not path.is_file():
            raise ConfigurationError(f"{what}: there is no file {path}")
    verify = ("ssh-keygen", "-Y", "verify", "-f", allowed_signers, "-I", PRINCIPAL)
    try:
        programs.run((*verify, "-n", NAMESPACE, "-s", str(signature)), stdin=data)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{program} is not signed by a key in {allowed_signers}, and is not installed: {error}"
        ) from error
