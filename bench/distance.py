"""Count round trips: how many times a client waits for a CA that is far away.

Each client gets a certificate from a CA next door, and from the same CA through a proxy that delays
all that passes, new connections included. The difference between the two times, divided by the
delay, is the number of round trips that the client made one after the other. Near and far take
turns.

    bench/run distance --delay 100 --names 1,2,8,20,100 --runs 5
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from bench import peers
from bench.measure import measure
from bench.peers import Challenge, Peer
from bench.world import World, world


class DelayingProxy:
    """Hands connections on to a local port, each byte half a round trip later in each direction.

    A connection costs a round trip of its own before its first byte, as the TCP handshake does.

    Attributes:
        port: Where it listens on 127.0.0.1.
        most: The most connections that were open at a time.
    """

    def __init__(self, target: int, seconds: float) -> None:
        self._target = target
        self._seconds = seconds
        self._open = 0
        self.most = 0
        self.port = 0

    async def serve(self, ready: threading.Event) -> None:
        """Serve until `end` is called."""
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, backlog=500)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._ended.wait()
        server.close()

    def end(self) -> None:
        """Stop serving; called from another thread."""
        self._loop.call_soon_threadsafe(self._ended.set)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            await asyncio.sleep(self._seconds)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(
                self._delayed(reader, inner_writer), self._delayed(inner_reader, writer)
            )
        except OSError:
            writer.close()
        finally:
            self._open -= 1

    async def _delayed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what is read, each piece half a round trip after it came, in its order."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    break
                writer.write(data)
            writer.close()

        writing = asyncio.create_task(write())
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                pieces.put_nowait((loop.time() + self._seconds / 2, data))
        pieces.put_nowait((loop.time() + self._seconds / 2, b""))
        with contextlib.suppress(OSError):
            await writing


@contextlib.contextmanager
def delaying_proxy(target: int, seconds: float) -> Iterator[DelayingProxy]:
    """Run one in a thread of its own.

    Args:
        target: The port on 127.0.0.1 behind it.
        seconds: A round trip.
    """
    proxy = DelayingProxy(target, seconds)
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(proxy.serve(ready)))
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        proxy.end()
        thread.join()


def round_trips(
    place: World, peer: Peer, challenge: Challenge, proxy: DelayingProxy, *, names: int, runs: int
) -> list[float]:
    """Let a client run near and far in turn, and count the round trips of each pair."""
    near, far = place.pebble.directory_url, f"https://127.0.0.1:{proxy.port}/dir"
    found = []
    for number in range(-1, runs):  # the first pair makes the accounts
        seconds = {}
        for url in (near, far):
            out = place.folder / f"{peer.folder.name}-{challenge}-{names}-{number}-{url == far}"
            peer.url = url
            figures = measure(peer.run(place.csr(names), challenge, out), out)
            if not figures.ok:
                return []
            seconds[url] = figures.wall
        if number >= 0:
            found.append((seconds[far] - seconds[near]) / proxy._seconds)  # noqa: SLF001 - ours
    return found


def main() -> None:
    """Print a table: clients by numbers of names."""
    parser = argparse.ArgumentParser(prog="distance", description=__doc__)
    parser.add_argument("--delay", type=float, default=100, help="A round trip, in ms (100).")
    parser.add_argument("--names", default="1,2,8,20,100", help="How many, separated by commas.")
    parser.add_argument("--runs", type=int, default=5, help="Pairs for each figure (5).")
    parser.add_argument("--challenge", choices=get_args(Challenge), default="http-01")
    parser.add_argument("--peers", default="certgrinderd,certbot,acme-tiny")
    options = parser.parse_args()
    numbers = [int(word) for word in options.names.split(",")]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    print("| client | " + " | ".join(f"{number} names" for number in numbers) + " |")  # noqa: T201
    with world(folder, delay=0) as place:
        for peer in peers.prepare(place, options.peers.split(",")).peers:
            cells = []
            for number in numbers:
                with delaying_proxy(place.pebble.port, options.delay / 1000) as proxy:
                    found = round_trips(
                        place, peer, options.challenge, proxy, names=number, runs=options.runs
                    )
                cell = "failed"
                if found:
                    middle = statistics.median(found)
                    cell = f"{middle:.1f} ({min(found):.1f}-{max(found):.1f}; {proxy.most} open)"
                cells.append(cell)
                sys.stderr.write(f"{peer.name}, {number} names: {cell}\n")
            print(f"| {peer.name} | " + " | ".join(cells) + " |", flush=True)  # noqa: T201
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
