"""Connections of clients that are too slow: one that does not send its request, or does not take its answer.

uvicorn waits for both for ever, and a connection that waits costs a place among those that may be open.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# h11 bounds the head of a request; httptools, which uvicorn takes where it is installed, does not
_Protocol: Any = H11Protocol


def impatient(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with limits on waiting for a client.

    Parameters
    ----------
    seconds : float
        For the head of a request to arrive once the connection is made or its first byte is there, and for
        the client to take some of an answer that it lets wait. Bodies have a limit of their own
        (`serupa.web.limits.BodyLimit`).
    """

    class Impatient(_Protocol):  # type: ignore[misc]
        _head: asyncio.TimerHandle | None = None
        _taking: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
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
            self._stop_head()
            self._stop_taking()
            super().connection_lost(exc)

        def _watch_head(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_head()  # it is there
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
