"""Several at once, until one fails, the time is over or somebody interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from certgrinderd.errors import Interrupted
from certgrinderd.system import waiting
from certgrinderd.system.waiting import OutOfTime, Patience, Stopped, each


def patience(seconds: float = 30) -> Patience:
    """Patience of a test, which has no client."""
    return Patience(seconds, for_client=False)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_results_are_in_order(at_once: int) -> None:
    """However many run at a time, results stand where their items stood."""
    assert each(lambda n: n * n, range(10), at_once=at_once, patience=patience()) == [
        n * n for n in range(10)
    ]
    assert each(lambda n: n, [], at_once=at_once, patience=patience()) == []


def test_as_many_as_allowed_run_side_by_side() -> None:
    """Calls wait for each other only where the limit says so."""
    barrier = threading.Barrier(4, timeout=20)
    each(lambda _: barrier.wait(), range(8), at_once=4, patience=patience())
    short = threading.Barrier(4, timeout=0.2)
    with pytest.raises(threading.BrokenBarrierError):
        each(lambda _: short.wait(), range(8), at_once=3, patience=patience())


@pytest.mark.parametrize("at_once", [1, 2])
def test_first_error_stops_the_rest(at_once: int) -> None:
    """After an error nothing new starts, and the error comes out."""
    started = []

    def call(number: int) -> None:
        started.append(number)
        if number == 1:
            raise LookupError(number)

    with pytest.raises(LookupError):
        each(call, range(1000), at_once=at_once, patience=patience())
    assert len(started) < 1000


def test_signal_stops_all_threads() -> None:
    """An interruption of the main thread ends the others' waiting too, and comes out."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted("ended", number)

    before = signal.signal(signal.SIGUSR1, interrupt)
    ended = []
    started = threading.Barrier(3, timeout=20)
    ours = patience()

    def call(_: int) -> None:
        started.wait()
        try:
            ours.pause(25)
        except Stopped:
            ended.append(True)
            raise

    def kick() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=kick).start()
    try:
        with pytest.raises(Interrupted):
            each(call, [1, 2], at_once=2, patience=ours)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended == [True, True]


def test_pause_ends_when_the_time_is_over() -> None:
    """No pause lasts longer than the patience."""
    start = time.monotonic()
    with pytest.raises(OutOfTime):
        patience(0.1).pause(20)
    assert time.monotonic() - start < 10
    patience().pause(0.01)


def test_cleanup_is_defer_signals() -> None:
    """A signal during a cleanup is told after it, once, and later ones work as before."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append("handler"))
    done = []

    def clean_up() -> None:
        with waiting.defer_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append(True)

    try:
        with pytest.raises(Interrupted) as caught:
            clean_up()
        assert (done, came, caught.value.exit_code) == ([True], [], 128 + signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert came == ["handler"]
    finally:
        signal.signal(signal.SIGTERM, before)
