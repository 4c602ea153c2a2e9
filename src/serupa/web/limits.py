"""What one client, and all of them together, may ask for: bodies, time, rate. Plain ASGI middleware."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serupa.web.problems import ProblemError, busy

_LINGER_S = 5.0
_LINGER_BODIES = 5


class BodyLimit:
    """Refuses bodies that are too large (413), too slow (408), or too many at once (429).

    A body that says its length is refused before any of it is read. The bytes of all bodies in flight are
    counted, which bounds memory however many clients there are.

    Parameters
    ----------
    app : ASGI application
    limit : int
        Largest body, in bytes.
    held : int
        Largest sum of the bodies of the requests in flight, in bytes.
    seconds : float
        Longest time for a body to arrive.
    """

    def __init__(self, app: ASGIApp, *, limit: int, held: int, seconds: float) -> None:
        self._app = app
        self.limit = limit
        self.held_limit = held
        self.seconds = seconds
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        body = _Body(self, receive, unread="content-length" in headers or "transfer-encoding" in headers)

        async def sending(message: Message) -> None:
            if (
                message["type"] == "http.response.body"
                and not message.get("more_body", False)
                and body.unread
            ):
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        length = headers.get("content-length", "")
        try:
            if length and "transfer-encoding" in headers:  # a proxy before us may go by the other one
                detail = "send Content-Length or Transfer-Encoding, not both"
                both = ProblemError(400, detail, headers={"Connection": "close"})
                await both.response()(scope, receive, sending)
            elif length.isdecimal() and int(length[:20]) > self.limit:
                await self.too_large().response()(scope, receive, sending)
            else:
                await self._app(scope, body.receive, sending)
        finally:
            self.held -= body.size

    def too_large(self) -> ProblemError:
        """Return what is said of a body over the limit."""
        detail = f"the request is over the limit of {self.limit / 1e6:g} MB; send a smaller photo"
        return ProblemError(413, detail, headers={"Connection": "close"})


class _Body:
    """The body of one request as it arrives."""

    def __init__(self, limits: BodyLimit, receive: Receive, *, unread: bool) -> None:
        self._limits = limits
        self._receive = receive
        self._deadline = time.monotonic() + limits.seconds
        self.unread = unread
        self.size = 0

    async def receive(self) -> Message:
        if not self.unread:  # there is none, or what is waited for now is the client's leaving
            return await self._receive()
        limits = self._limits
        try:
            message = await asyncio.wait_for(self._receive(), self._deadline - time.monotonic())
        except TimeoutError:
            self.unread = False
            detail = f"the request took over {limits.seconds:g} s to arrive"
            raise ProblemError(408, detail, headers={"Connection": "close"}) from None
        self.unread = message["type"] == "http.request" and message.get("more_body", False)
        more = len(message.get("body", b""))
        self.size += more
        limits.held += more
        if self.size > limits.limit:
            raise limits.too_large()
        if limits.held > limits.held_limit:
            problem = busy("the server is receiving too many photos at once; try again in a moment")
            problem.headers["Connection"] = "close"
            raise problem
        return message

    async def discard(self) -> None:
        """Read on for a while after an early answer, and throw it away.

        A connection that is closed while its client is still sending breaks, and takes the answer with it.
        """
        most = _LINGER_BODIES * self._limits.limit
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while self.unread and most > 0:
                    message = await self._receive()
                    self.unread = message["type"] == "http.request" and message.get("more_body", False)
                    most -= len(message.get("body", b""))


class RateLimit:
    """A token bucket for each client: a burst of a quarter of a minute's requests, then an even rate.

    Ours, since `limits` has windows only, and remembers every client that it ever saw for a while.

    Parameters
    ----------
    per_minute : float
        Requests per minute; 0 is no limit.
    clock : callable
        Seconds that only grow.
    """

    _CLIENTS = 10_000  # remembered at most; who was quiet longest is forgotten first

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = max(1.0, per_minute / 4)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request.

        Raises
        ------
        ProblemError
            429, with when to try again, if the client has none left.
        """
        if not self._per_second:
            return
        now = self._clock()
        tokens, seen = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - seen) * self._per_second)
        enough = tokens >= 1
        self._buckets[client] = (tokens - enough, now)
        if len(self._buckets) > self._CLIENTS:
            self._buckets.popitem(last=False)
        if not enough:
            wait = math.ceil((1 - tokens) / self._per_second)
            detail = f"more than {60 * self._per_second:g} requests in a minute; try again in {wait} s"
            raise busy(detail, retry_after_s=wait, code="rate")
