"""Several calls at once, and cleanups that no signal cuts short."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from certgrinderd.errors import Interrupted
from certgrinderd.system.deadline import Deadline, Stopped

Item = TypeVar("Item")
Result = TypeVar("Result")

# A wait without a time limit does not notice signals on some systems.
_WAIT_SECONDS = 0.25
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    at_once: int,
    deadline: Deadline,
) -> list[Result]:
    """Call a function for each item, several at once, each in a thread.

    After an error no further call starts; calls that have started are waited for, also when a
    signal interrupts us. No thread is left behind.

    Args:
        function: It must check the deadline whenever it waits.
        items: In the order in which the calls start.
        at_once: The most calls at a time; with 1, or a single item, there are no threads.
        deadline: Stopped when a signal interrupts us.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: The first error of a call.
    """
    if at_once == 1 or len(items) <= 1:
        return [function(item) for item in items]
    failures: list[BaseException] = []

    def call(item: Item) -> Result:
        if failures:
            raise Stopped
        try:
            return function(item)
        except BaseException as error:
            failures.append(error)
            raise

    pool = ThreadPoolExecutor(min(at_once, len(items)))
    try:
        with defer_signals():  # the pool forgets a thread if it is interrupted while it starts it
            futures = [pool.submit(call, item) for item in items]
        while wait(futures, _WAIT_SECONDS).not_done:
            pass
    except BaseException:
        failures.append(Stopped())
        with defer_signals():
            deadline.stop()
            pool.shutdown()
        raise
    pool.shutdown()
    if failures:
        raise next((error for error in failures if not isinstance(error, Stopped)), failures[0])
    return [future.result() for future in futures]


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
