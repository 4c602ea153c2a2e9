"""Several catalogues in one service: the key of a request says whose it is, and nothing else does.

Each tenant has an application of its own (`serupa.web.app.create_app`): catalogue, limits, metrics and pages.
What stands in front of them looks at the key and hands the request on; an application never learns of the
others. Encoders alone are shared, since they hold nothing of anybody's.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from serupa.errors import UsageError
from serupa.web.limits import BodyLimit, RateLimit
from serupa.web.logs import Record
from serupa.web.problems import ProblemError, key_needed, unavailable
from serupa.web.security import SecurityHeaders, cors, key_hash
from serupa.web.settings import Settings, Sha256, hashed, read_toml

if TYPE_CHECKING:
    from serupa.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who is served.

    Parameters
    ----------
    name : str
        For messages and logs.
    catalog : str
        The directory or the address of their catalogue.
    settings : Settings
        With the hashes of their keys; one that reads at least.
    """

    name: str
    catalog: str
    settings: Settings


class _Table(BaseModel):
    """A table of the file, its keys as hashes."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
    catalog: str
    read_key_sha256: Sha256
    api_key_sha256: Sha256 | None = None
    photos: str | None = None
    brand: str | None = None


def read_tenants(file: str | os.PathLike[str], settings: Settings) -> list[Tenant]:
    """Read the tenants of a TOML file: ``[tenants.NAME]`` with ``catalog`` and keys.

    Keys are written as ``read_key_sha256`` and ``api_key_sha256``, or as ``read_key`` and ``api_key``.

    Parameters
    ----------
    file : path
    settings : Settings
        Everything else that is allowed to each of them.

    Returns
    -------
    list of Tenant
        Empty where the file has none.

    Raises
    ------
    UsageError
        If one of them is not whole, or two have the same key or the same catalogue.
    """
    tables = read_toml(file).get("tenants", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(file, "write tenants as tables, [tenants.NAME]")
    tenants = [_tenant(name, table, settings) for name, table in tables.items()]
    if tenants and (settings.read_key_sha256 or settings.api_key_sha256):
        raise UsageError(file, "with tenants, each has keys of its own", "leave out those of the server")
    _refuse_shared(tenants)
    return tenants


def _tenant(name: str, table: Mapping[str, Any], settings: Settings) -> Tenant:
    try:
        own = _Table(name=name, **hashed(table))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError(
            f"[tenants.{name}]", problem, "a tenant has catalog, read_key, api_key, photos, brand"
        ) from None
    keys = own.model_dump(include={"read_key_sha256", "api_key_sha256"})
    own_files = {
        "photos": own.photos or settings.photos,
        "brand": own.brand or settings.brand,
        "events": settings.events and str(Path(settings.events) / name),
    }
    return Tenant(name, own.catalog, settings.model_copy(update=keys | own_files))


def _refuse_shared(tenants: Sequence[Tenant]) -> None:
    owners: dict[str, str] = {}
    for tenant in tenants:
        own = {tenant.settings.read_key_sha256, tenant.settings.api_key_sha256, tenant.catalog}
        for value in filter(None, own):
            if value in owners:
                what = "catalogue" if value == tenant.catalog else "key"
                raise UsageError(f"[tenants.{tenant.name}]", f"has the same {what} as {owners[value]}")
            owners[value] = tenant.name


def share_encoders(catalogs: Sequence[Catalog]) -> None:
    """Let catalogues of the same encoder use one: its memory is needed once."""
    for number, catalog in enumerate(catalogs):
        for other in catalogs[:number]:
            if catalog.manifest.same_encoder(other.manifest):
                catalog.encoder = other.encoder
                break


class Tenants:
    """An ASGI application in front of those of the tenants.

    Parameters
    ----------
    apps : mapping of str to FastAPI
        By tenant.
    settings : Settings
        Limits for requests that belong to nobody.
    closed : mapping of str to Settings, optional
        Tenants whose catalogue could not be opened: they are told so, and the others are served.
    """

    def __init__(
        self, apps: Mapping[str, FastAPI], settings: Settings, closed: Mapping[str, Settings] | None = None
    ) -> None:
        self._apps = dict(apps)
        self._keys = {name: app.state.service.settings for name, app in apps.items()} | dict(closed or {})
        self._rate = RateLimit(settings.rate_per_minute)
        self._router = Router(lifespan=self._lifespan)
        limited = BodyLimit(
            self._answer,
            limit=settings.limit_bytes,
            held=settings.held_bytes,
            seconds=settings.time_limit_s,
        )
        # a browser asks whether it may call (a preflight) without a key
        allowed = CORSMiddleware(limited, **cors(settings)) if settings.cors_origins else limited
        self._without_tenant: ASGIApp = SecurityHeaders(Record(allowed))

    @asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for app in self._apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the application of whoever it belongs to."""
        if scope["type"] == "lifespan":
            await self._router.lifespan(scope, receive, send)
        elif scope["type"] == "http":
            scope["tenant"] = self._owner(Request(scope))
            await self._apps.get(scope["tenant"], self._without_tenant)(scope, receive, send)

    def _owner(self, request: Request) -> str | None:
        """Return whose key a request has. All keys are compared, so that the time taken tells nothing."""
        given, owner = key_hash(request), None
        for name, settings in self._keys.items():
            for key in (settings.read_key_sha256, settings.api_key_sha256):
                if key is not None and hmac.compare_digest(given, key):
                    owner = name
        return owner

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what no application does: whether the process is well, and else that a key is needed."""
        try:
            if scope["path"] in ("/healthz", "/readyz") and scope["method"] in ("GET", "HEAD"):
                if scope["path"] == "/readyz":
                    for app in self._apps.values():
                        await app.state.service.ready()
                await JSONResponse({"status": "ok"})(scope, receive, send)
                return
            if scope["tenant"] is not None:
                raise unavailable(
                    "the catalogue could not be opened; the server's log says why", code="store"
                )
            client = scope.get("client")
            self._rate.take(f"address {client[0] if client else ''}")
            raise key_needed()
        except ProblemError as problem:
            await problem.response()(scope, receive, send)
