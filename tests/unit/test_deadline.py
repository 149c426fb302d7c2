"""Deadlines, several calls at once, and cleanups that no signal cuts short."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

import pytest

from certgrinderd.errors import Interrupted
from certgrinderd.system.deadline import Deadline, Stopped, TimeUp
from certgrinderd.system.parallel import defer_signals, each


def deadline(seconds: float = 30) -> Deadline:
    """A deadline of a test, which has no client."""
    return Deadline(seconds, for_client=False)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_results_are_in_order(at_once: int) -> None:
    """However many run at a time, results stand where their items stood."""
    assert each(lambda n: n * n, range(10), at_once=at_once, deadline=deadline()) == [
        n * n for n in range(10)
    ]
    assert each(lambda n: n, [], at_once=at_once, deadline=deadline()) == []


def test_as_many_as_allowed_run_side_by_side() -> None:
    """Calls wait for each other only where the limit says so."""
    barrier = threading.Barrier(4, timeout=20)
    each(lambda _: barrier.wait(), range(8), at_once=4, deadline=deadline())
    short = threading.Barrier(4, timeout=0.2)
    with pytest.raises(threading.BrokenBarrierError):
        each(lambda _: short.wait(), range(8), at_once=3, deadline=deadline())


@pytest.mark.parametrize("at_once", [1, 2])
def test_first_error_stops_the_rest(at_once: int) -> None:
    """After an error nothing new starts, and the error comes out."""
    started = []

    def call(number: int) -> None:
        started.append(number)
        if number == 1:
            raise LookupError(number)

    with pytest.raises(LookupError):
        each(call, range(1000), at_once=at_once, deadline=deadline())
    assert len(started) < 1000


@pytest.mark.parametrize("signals", [1, 2])
def test_signal_stops_all_threads(signals: int) -> None:
    """It ends the others' waiting too, and comes out; a second one leaves no call behind."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted("ended", number)

    before = signal.signal(signal.SIGTERM, interrupt)
    started, stopped = threading.Barrier(3, timeout=20), threading.Event()
    ended = []
    ours = deadline()

    def call(_: int) -> None:
        started.wait()
        try:
            ours.pause(25)
        except Stopped:
            stopped.set()
            time.sleep(0.3)
            ended.append(True)
            raise

    def kick() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        if signals > 1:
            stopped.wait(20)
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=kick).start()
    try:
        with pytest.raises(Interrupted):
            each(call, [1, 2], at_once=2, deadline=ours)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended == [True, True]


def test_pause_ends_when_the_time_is_over() -> None:
    """No pause lasts longer than the time limit."""
    start = time.monotonic()
    with pytest.raises(TimeUp):
        deadline(0.1).pause(20)
    assert time.monotonic() - start < 10
    deadline().pause(0.01)


def test_call_that_takes_too_long_is_given_up() -> None:
    """Its result or error comes out, unless the time is over before."""
    assert deadline().call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        deadline().call(lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="of the call"):
        deadline().call(_raise_timeout)
    over = threading.Event()
    with pytest.raises(TimeUp):
        deadline(0.1).call(over.wait)
    over.set()


def _raise_timeout() -> None:
    raise TimeoutError("of the call")


def test_part_of_the_time() -> None:
    """A part ends with the whole at the latest, and is stopped with it."""
    whole = deadline(30)
    part = whole.within(0.05)
    with pytest.raises(TimeUp):
        part.pause(20)
    assert whole.check() > 0
    assert deadline(5).within(100).left <= 5
    whole.stop()
    with pytest.raises(Stopped):
        whole.within(5).check()


def test_descriptor_is_waited_for() -> None:
    """Until it is ready, or the time is over."""
    read, write = os.pipe()
    try:
        with pytest.raises(TimeUp):
            deadline(0.1).wait_for(read, select.POLLIN)
        os.write(write, b"x")
        deadline().wait_for(read, select.POLLIN)
    finally:
        os.close(read)
        os.close(write)


def test_hang_up_ends_every_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those for a client, that is: a cleanup goes on."""
    client, ours = os.pipe()
    silent, other = socket.socketpair()
    over = threading.Event()
    waits: list[Callable[[Deadline], object]] = [
        lambda it: it.pause(20),
        lambda it: it.wait_for(silent.fileno(), select.POLLIN),
        lambda it: it.call(lambda: over.wait(20)),
    ]
    with silent, other, open(ours, "wb", buffering=0) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        Deadline(20).check()
        threading.Timer(0.3, os.close, (client,)).start()
        for wait in waits:
            with pytest.raises(Interrupted, match="the client hung up") as caught:
                wait(Deadline(20))
            assert caught.value.exit_code == 128 + signal.SIGHUP
        deadline().check()
    over.set()


def test_signals_are_deferred_during_a_cleanup() -> None:
    """A signal during a cleanup is told after it, once, and later ones work as before."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append("handler"))
    done = []

    def clean_up() -> None:
        with defer_signals():
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
