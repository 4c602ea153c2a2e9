"""Connections of clients that are too slow, or too many.

uvicorn waits for ever for a client to send its request, and to take its answer, and a connection that waits
costs one of the files that a process may have open. Where no more may be open, the one that has been idle
longest makes room: however many do nothing, somebody who asks gets in.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# h11 bounds the head of a request; httptools, which uvicorn takes where it is installed, does not
_Protocol: Any = H11Protocol


def impatient(seconds: float, most: int) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with limits on waiting for a client, and on how many there are.

    Parameters
    ----------
    seconds : float
        For the head of a request to arrive once the connection is made or its first byte is there, and for
        the client to take some of an answer that it lets wait. Bodies have a limit of their own
        (`serupa.web.limits.BodyLimit`).
    most : int
        Connections that may be open. While all of them have a request, one more is closed at once.
    """
    idle: OrderedDict[Any, None] = OrderedDict()  # the longest first
    count = 0

    class Impatient(_Protocol):  # type: ignore[misc]
        _head: asyncio.TimerHandle | None = None
        _taking: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            nonlocal count
            super().connection_made(transport)
            count += 1
            idle[self] = None
            if count > most:
                next(iter(idle)).transport.abort()
            self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._taking = self._taking or self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_taking()

        def connection_lost(self, exc: Exception | None) -> None:
            nonlocal count
            count -= 1
            idle.pop(self, None)
            self._stop_head()
            self._stop_taking()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            idle[self] = None  # unless the next request is there already
            super().on_response_complete()
            self._watch_head()

        def _watch_head(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_head()  # it is there
                idle.pop(self, None)
            elif self._head is None:
                self._head = self.loop.call_later(seconds, self.transport.close)

        def _stop_head(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _stop_taking(self) -> None:
            if self._taking is not None:
                self._taking.cancel()
                self._taking = None

    return Impatient
