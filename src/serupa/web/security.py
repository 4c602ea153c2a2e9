"""Who may do what, and what browsers are told: keys and headers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serupa.web.limits import RateLimit
from serupa.web.problems import ProblemError, key_needed
from serupa.web.settings import Settings

# Scripts and styles come from this server alone, none of them inline
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}

# For OpenAPI only: what a key may do is the gate's to say
_Bearer = Annotated[object, Depends(HTTPBearer(auto_error=False, description="The key, after `Bearer`."))]
_Header = Annotated[object, Depends(APIKeyHeader(name="X-API-Key", auto_error=False, description="The key."))]


class Gate:
    """Lets requests in by key, and counts them.

    Parameters
    ----------
    settings : Settings
        The hashes of the keys, and the rate.
    """

    def __init__(self, settings: Settings) -> None:
        self._write = settings.api_key_sha256
        self._read = settings.read_key_sha256
        self._rate = RateLimit(settings.rate_per_minute)

    @property
    def writable(self) -> bool:
        """Whether anybody may add and remove items."""
        return self._write is not None

    @property
    def open(self) -> bool:
        """Whether everybody may read."""
        return self._read is None

    def read(self, request: Request, *, counted: bool = True) -> None:
        """Refuse a request that may not read, or comes too often."""
        key = _key(request) or _basic_password(request)
        reads, writes = _matches(key, self._read), _matches(key, self._write)
        let_in = self.open or reads or writes
        if counted or (key and not let_in):  # a guessed key is counted wherever it is tried
            self._count(request, key if reads or writes else None)
        if not let_in:
            raise key_needed()

    def write(self, request: Request) -> None:
        """Refuse a request that may not add or remove items, or comes too often."""
        # not the key that a browser remembers: another site could make it add items
        key = _key(request)
        writes = _matches(key, self._write)
        self._count(request, key if writes else None)
        if self._write is None:
            raise ProblemError(
                403,
                "adding and removing items is off: start the server with --api-key or SERUPA_API_KEY",
            )
        if writes:
            return
        if key and _matches(key, self._read):
            raise ProblemError(403, "this key may only read; adding and removing items needs the API key")
        raise ProblemError(
            401,
            "adding and removing items needs the API key: Authorization: Bearer KEY or X-API-Key: KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _count(self, request: Request, right_key: str | None) -> None:
        # only keys that are right count as clients: made-up ones would each bring a full bucket
        address = request.client.host if request.client else ""
        self._rate.take(f"key {_sha256(right_key)}" if right_key else f"address {address}")


def may_read(request: Request, _bearer: _Bearer, _header: _Header) -> None:
    """Let only readers in."""
    request.app.state.service.gate.read(request)


def may_see(request: Request, _bearer: _Bearer, _header: _Header) -> None:
    """Let only readers in, without counting: a page full of photos is one request of a person's."""
    request.app.state.service.gate.read(request, counted=False)


def may_write(request: Request, _bearer: _Bearer, _header: _Header) -> None:
    """Let only those in who may change the catalogue."""
    request.app.state.service.gate.write(request)


def cors(settings: Settings) -> dict[str, Any]:
    """Return what Starlette's CORSMiddleware is to allow."""
    return {
        "allow_origins": settings.cors_origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_headers": ["Authorization", "X-API-Key"],
        "expose_headers": ["ETag", "Location", "Retry-After"],
    }


class KnownHosts:
    """Refuses requests that call the server by a name that is not its own.

    Starlette's TrustedHostMiddleware answers in plain text, not with a problem.

    Parameters
    ----------
    app : ASGI application
    hosts : sequence of str
        The names, without ports; all are allowed where there are none.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and self._hosts:
            host = Headers(scope=scope).get("host", "").lower()
            if re.sub(r":\d+$", "", host) not in self._hosts and scope["path"] != "/healthz":
                problem = ProblemError(421, "this server goes by another name; see its setting allowed_hosts")
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


UNFRAMED = {
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
}
"""What a page is answered with that no other page may show in a frame."""


class SecurityHeaders:
    """Adds to every answer what browsers are to respect.

    Parameters
    ----------
    app : ASGI application
    frame_origins : sequence of str
        Whose pages may show these in a frame.
    """

    def __init__(self, app: ASGIApp, frame_origins: Sequence[str] = ()) -> None:
        self._app = app
        framed = {"Content-Security-Policy": f"{_POLICY}; frame-ancestors {' '.join(frame_origins)}"}
        self._headers = _HEADERS | (framed if frame_origins else UNFRAMED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its answer gets the headers."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending)


def key_hash(request: Request) -> str:
    """Return the SHA-256 of the key that a request brings, in whatever way; of nothing where it has none."""
    return _sha256(_key(request) or _basic_password(request))


def _key(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _basic_password(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _matches(key: str, sha256: str | None) -> bool:
    return sha256 is not None and hmac.compare_digest(_sha256(key), sha256)
