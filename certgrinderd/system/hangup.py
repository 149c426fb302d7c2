"""Does anybody still wait for our answer?"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator

from certgrinderd.errors import Interrupted

_GLANCE_SECONDS = 0.5
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


def is_client_gone() -> bool:
    """Whether the other end of our standard output is closed: a pipe or socket without a reader.

    sshd closes its ends when the connection breaks; it sends no signal without a terminal.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return False  # no real file: somebody calls us from Python
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & _GONE for _, event in poll.poll(0))


def require_client() -> None:
    """Require that somebody still waits for our answer.

    Raises:
        Interrupted: Nobody does.
    """
    if is_client_gone():
        raise Interrupted("the client hung up", signal.SIGHUP)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Send ourselves SIGHUP, which ends the run, as soon as nobody waits for our answer any more.

    For waits that cannot look by themselves, and have nothing to clean up: connecting, TLS.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_GLANCE_SECONDS):
            if is_client_gone():
                os.kill(os.getpid(), signal.SIGHUP)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
