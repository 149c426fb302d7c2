"""One way to wait: up to a time limit, and only as long as the client is there."""

from __future__ import annotations

import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from certgrinderd.errors import Interrupted

Result = TypeVar("Result")

# How often a wait checks whether it should go on.
_CHECK_SECONDS = 0.25
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class TimeUp(Exception):
    """The time limit has passed."""


class Stopped(Exception):
    """Another thread failed or was interrupted, so this one should stop too."""


class Deadline:
    """A time limit, shared by all threads that work on a task.

    Every method that waits raises TimeUp when the time is over, Interrupted when the client has
    hung up, and Stopped after a call of stop(), at most a quarter of a second later.

    Attributes:
        seconds: The whole time, from the start.
    """

    def __init__(self, seconds: float, *, for_client: bool = True) -> None:
        """Start the clock.

        Args:
            seconds: The time limit.
            for_client: Whether the task is useless once nobody reads our standard output.
        """
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._for_client = for_client
        self._stopped = threading.Event()

    @property
    def left(self) -> float:
        """Seconds left; 0 when the time is over."""
        return max(0.0, self._end - time.monotonic())

    def within(self, seconds: float) -> Deadline:
        """Return a deadline for a part of the task, which ends with the whole at the latest."""
        part = Deadline(min(seconds, self.left), for_client=self._for_client)
        part._stopped = self._stopped
        return part

    def stop(self) -> None:
        """Make every wait and check fail from now on, in all threads."""
        self._stopped.set()

    def check(self) -> float:
        """Require that the task should go on.

        Returns:
            The longest time in seconds to wait before the next check.

        Raises:
            TimeUp, Interrupted, Stopped: It should not.
        """
        if self._stopped.is_set():
            raise Stopped
        if self._for_client and _has_client_hung_up():
            raise Interrupted("the client hung up", signal.SIGHUP)
        left = self.left
        if not left:
            raise TimeUp
        return min(left, _CHECK_SECONDS)

    def pause(self, seconds: float) -> None:
        """Wait for some seconds."""
        end = time.monotonic() + seconds
        longest = self.check()
        while (rest := end - time.monotonic()) > 0:
            self._stopped.wait(min(rest, longest))
            longest = self.check()

    def wait_for(self, descriptor: int, events: int) -> None:
        """Wait until one of the events (POLLIN, POLLOUT) or an error happens on a descriptor."""
        poll = select.poll()
        poll.register(descriptor, events)
        while not poll.poll(self.check() * 1000):
            pass

    def call(self, function: Callable[[], Result]) -> Result:
        """Run a call that knows no time limit in a thread, and wait for its result.

        The thread of a call that is given up is left behind, and ends with the process at the
        latest: the call must release by itself what it holds.
        """
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                future.set_exception(error)

        longest = self.check()
        threading.Thread(target=run, daemon=True).start()
        while wait([future], longest).not_done:
            longest = self.check()
        return future.result()


def _has_client_hung_up() -> bool:
    """Whether our standard output is a pipe or socket without a reader.

    sshd closes its end when the connection breaks; it sends no signal without a terminal.
    """
    try:
        descriptor = sys.stdout.fileno()  # noqa: TID251 - polled, not written to
    except (AttributeError, OSError, ValueError):
        return False  # no real file: called from Python
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & _GONE for _, event in poll.poll(0))
