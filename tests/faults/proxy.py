"""A proxy that misbehaves: cuts connections, holds them up, and answers 503 in a server's place."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Proxy:
    """What it does, and how often it did it.

    Parameters
    ----------
    cut, refuse : float
        Share of the pieces of data at which a connection is cut, and of the connections answered with 503.
    delay_s : float
        Longest time that a piece of data is held up.
    """

    target: int
    cut: float = 0.0
    refuse: float = 0.0
    delay_s: float = 0.0
    port: int = 0
    cuts: int = 0
    refusals: int = 0
    random: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.random.random() < self.refuse:
            self.refusals += 1
            writer.write(_BUSY)
            with suppress(OSError):
                await writer.drain()
            writer.close()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self.pump(reader, there_writer, (writer, there_writer)),
            self.pump(there_reader, writer, (writer, there_writer)),
        )

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        """Pass data on. A cut comes after the data went through, or before: the client cannot tell which."""
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.random.uniform(0, self.delay_s))
                lost = self.random.random() < self.cut
                if not lost or self.random.random() < 0.5:
                    writer.write(data)
                    await writer.drain()
                if lost:
                    self.cuts += 1
                    break
        for one in both:
            with suppress(OSError):
                one.close()


@contextmanager
def misbehaving(target: int, **faults: float) -> Iterator[Proxy]:
    """Run a proxy in front of a port of this machine."""
    proxy = Proxy(target, **faults)  # type: ignore[arg-type]
    loop, started = asyncio.new_event_loop(), threading.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(asyncio.start_server(proxy.serve, "127.0.0.1", 0))
        proxy.port = server.sockets[0].getsockname()[1]
        started.set()
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
