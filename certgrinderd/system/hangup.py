"""Does anybody still wait for our answer?"""

from __future__ import annotations

import select
import signal
import sys

from certgrinderd.errors import Interrupted

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
