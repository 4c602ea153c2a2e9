"""One line of JSON for each request, and its measures: no photo, no key, no query string."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serupa.errors import printable
from serupa.web.metrics import Metrics
from serupa.web.problems import errors, problem_of

access = logging.getLogger("serupa.access")

_METHODS = ("GET", "POST", "DELETE", "OPTIONS", "HEAD")
_LONGEST_PATH = 500  # characters
_GONE = 499  # what nginx calls it: the client left before the answer


class Record:
    """Logs and measures every request; an error that nobody foresaw is logged, and told as a bare 500."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics | None = None) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and write down what came of it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, path = time.perf_counter(), scope["path"]
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except (ClientGoneError, ClientDisconnect):
            status = _GONE
        except Exception as error:
            errors.exception("request failed: %s %s", scope["method"], path)
            if status:  # too late to say so; the connection is cut
                raise
            await problem_of(error).response()(scope, receive, sending)
        finally:
            self._write(scope, path, status or _GONE, time.perf_counter() - started)

    def _write(self, scope: Scope, path: str, status: int, seconds: float) -> None:
        route = route_of(scope)
        if self._metrics is not None:
            # what clients made up must not become a label: each label is kept for ever
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.latency.labels(method, route).observe(seconds)
        client = scope.get("client")
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": client[0] if client else None,
            "method": scope["method"],
            "path": path[:_LONGEST_PATH],
            "route": route,
            "status": status,
            "ms": round(1e3 * seconds, 2),
        }
        if "tenant" in scope:
            line["tenant"] = scope["tenant"]
        access.info("%s", json.dumps(line))


class OneLine(logging.Formatter):
    """Writes a record so that nothing in it drives a terminal, or looks like another record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line, what could drive a terminal written out."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback, indented, so that none of its lines looks like a record."""
        return "\n".join(f"  {printable(line)}" for line in super().formatException(ei).split("\n"))


class Few(logging.Filter):
    """Lets the same message pass a few times a minute, so that nobody can fill the log with it."""

    def __init__(self, most: int = 20, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most, self._clock = most, clock
        self._since = clock()
        self._counts: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is written; the first one of a minute says how many were not."""
        now = self._clock()
        if now - self._since >= 60:
            left_out = sum(max(0, count - self._most) for count in self._counts.values())
            if left_out:
                record.msg = f"{record.msg} ({left_out} messages of the last minute were left out)"
            self._since = now
            self._counts.clear()
        key = f"{record.name} {record.msg}"
        self._counts[key] += 1
        return self._counts[key] <= self._most


class ClientGoneError(Exception):
    """The client left before its answer was there."""


def route_of(scope: Scope) -> str:
    """Return the route that a request took, as it is declared; not what stood in the address."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    if path is not None:
        return str(path)
    return "/static" if scope["path"].startswith("/static/") else "unmatched"
