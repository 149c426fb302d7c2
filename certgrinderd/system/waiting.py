"""How long we wait, for what, and what ends the waiting early."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from certgrinderd.errors import Interrupted
from certgrinderd.system.hangup import require_client

Item = TypeVar("Item")
Result = TypeVar("Result")

# How often those who wait look whether somebody still waits for them.
_GLANCE_SECONDS = 0.25
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class OutOfTime(Exception):
    """The time that we had is over."""


class Stopped(Exception):
    """Another thread has failed or was interrupted: our work is of no use any more."""


class Patience:
    """The time that a task has, shared by all threads that work on it.

    Attributes:
        seconds: All of it, from the start.
    """

    def __init__(self, seconds: float, *, for_client: bool = True) -> None:
        """Start the clock.

        Args:
            seconds: The time.
            for_client: Whether the task is in vain when nobody waits for its result any more.
        """
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._for_client = for_client
        self._stopped = threading.Event()

    @property
    def left(self) -> float:
        """Seconds; negative when the time is over."""
        return self._deadline - time.monotonic()

    def stop(self) -> None:
        """Make every check from now on fail."""
        self._stopped.set()

    def check(self) -> None:
        """Require that it is worth while to go on.

        Raises:
            Interrupted: Nobody waits for us any more.
            Stopped: Another thread said so.
            OutOfTime: The time is over.
        """
        if self._stopped.is_set():
            raise Stopped
        if self._for_client:
            require_client()
        if self.left <= 0:
            raise OutOfTime

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted, Stopped, OutOfTime: See check; it is noticed while we wait.
        """
        end = time.monotonic() + seconds
        while True:
            self.check()
            rest = min(end - time.monotonic(), self.left, _GLANCE_SECONDS)
            if end <= time.monotonic():
                return
            self._stopped.wait(max(0.0, rest))


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    at_once: int,
    patience: Patience,
) -> list[Result]:
    """Call a function for each item, several at once, each in a thread.

    After an error no further call starts; those that have started are waited for.

    Args:
        function: It should check the patience whenever it waits.
        items: In the order in which the calls start.
        at_once: The most calls at a time; with 1, or a single item, there are no threads.
        patience: Stopped when we are interrupted.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: The first error of a call.
    """
    if at_once == 1 or len(items) <= 1:
        return [function(item) for item in items]
    crew = _Crew(function, items)
    threads = [threading.Thread(target=crew.work, daemon=True) for _ in items[:at_once]]
    try:
        for thread in threads:
            thread.start()
        crew.wait(lambda: crew.ended == len(threads))
    except BaseException:
        patience.stop()
        with defer_signals():
            crew.stop()
            crew.wait(lambda: crew.working == 0)
        raise
    if crew.failures:
        # That another one stopped is nobody's news.
        told = [failure for failure in crew.failures if not isinstance(failure, Stopped)]
        raise (told or crew.failures)[0]
    return [crew.results[number] for number in range(len(items))]


class _Crew(Generic[Item, Result]):
    """Threads that share a list of work.

    They are counted here: Thread.join() takes a thread for ended that it was waiting for when a
    signal handler raised something (CPython up to 3.12).
    """

    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self._function = function
        self._waiting = iter(enumerate(items))
        self._changed = threading.Condition()
        self.results: dict[int, Result] = {}
        self.failures: list[BaseException] = []
        self.working = self.ended = 0

    def work(self) -> None:
        """Do one piece of work after the other until there is none, or one failed."""
        while True:
            with self._changed:
                following = None if self.failures else next(self._waiting, None)
                if following is None:
                    self.ended += 1
                    self._changed.notify()
                    return
                self.working += 1
            number, item = following
            try:
                result = self._function(item)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                with self._changed:
                    self.failures.append(error)
            else:
                self.results[number] = result
            with self._changed:
                self.working -= 1
                self._changed.notify()

    def stop(self) -> None:
        """Let nobody begin anything new."""
        with self._changed:
            self.failures.append(Stopped())

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait for a change of the counters; a signal handler may end it."""
        with self._changed:
            while not until():
                # With a limit: a wait without one is deaf to signals on some systems.
                self._changed.wait(_GLANCE_SECONDS)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Put off the signals that ask us to end, for a cleanup that is bounded in time.

    One that came meanwhile is raised as Interrupted at the end. Without effect in another thread
    than the main one, which gets no signals.

    Raises:
        Interrupted: A signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in _SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise Interrupted(f"ended by {signal.Signals(came[0]).name}", came[0])
