"""A certgrinderd of a few lines, for many lives of certificates: it signs each CSR at once."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.testbed.authority import DAY, Party, make_ca, now
from tests.testbed.machine import at_clock

# The words of the client are those of the real one; so are the statuses of its refusals.
_SCRIPT = """\
cd {folder}
printf '%s %s\\n' "$(cat clock)" "$SSH_ORIGINAL_COMMAND" >>asked
case " $SSH_ORIGINAL_COMMAND" in
    *" get certificate")
        serial=0x1$(openssl rand -hex 8)
        $(cat faketime) openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "$serial" \
            -days "$(cat days)" -copy_extensions copy 2>/dev/null && cat ca.pem ;;
    *" get renewal-info") cat >/dev/null; cat renewal-info || exit 4 ;;
    *" show certificate --check-revocation") cat >/dev/null; cat revocation || exit 4 ;;
    *) exit 3 ;;
esac
"""


class Signer:
    """One, to be run by sshd for a client.

    Attributes:
        ca: What it signs with.
        command: The forced command.
    """

    def __init__(self, folder: Path, *, days: int) -> None:
        """Prepare it.

        Args:
            folder: For its files; to be made.
            days: How long its certificates live.
        """
        folder.mkdir()
        self._folder = folder
        self.ca: Party = make_ca(valid=(now() - DAY, now() + 3000 * DAY))
        self._write("ca.pem", self.ca.pem.decode())
        self._write("ca.key", self.ca.key_pem.decode())
        self._write("script", _SCRIPT.format(folder=shlex.quote(str(folder))))
        self.command = shlex.join(["sh", str(folder / "script")])
        self.live(days)
        self.move(0)

    def live(self, days: int) -> None:
        """Let certificates live so long from now on."""
        self._write("days", f"{days}\n")

    def move(self, seconds: int) -> None:
        """Set the clock so many seconds ahead."""
        self._write("clock", f"{seconds}\n")
        self._write("faketime", shlex.join(at_clock(seconds)))

    def say(self, *, renewal_info: str | None = None, revocation: str | None = None) -> None:
        """Answer so, as long as nothing else is said."""
        if renewal_info is not None:
            self._write("renewal-info", renewal_info)
        if revocation is not None:
            self._write("revocation", revocation)

    def asked(self, what: str) -> list[tuple[int, str]]:
        """The questions that end with these words: the clock, and all words."""
        file = self._folder / "asked"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        found = (line.split(" ", 1) for line in lines if line.endswith(what))
        return [(int(clock), words) for clock, words in found]

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")
