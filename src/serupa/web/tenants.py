"""Several catalogues in one service: the key of a request says whose it is, and nothing else does.

Each tenant has an application of its own (`serupa.web.app.create_app`): catalogue, limits, metrics and pages.
What stands in front of them looks at the key and hands the request on; an application never learns of the
others. Encoders alone are shared, since they hold nothing of anybody's.
"""

from __future__ import annotations

import hmac
import os
import re
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from serupa.web.limits import BodyLimit, RateLimit
from serupa.web.problems import ProblemError
from serupa.web.security import SecurityHeaders, key_hash
from serupa.web.settings import Settings, SettingsError, key_sha256

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.web.service import Service

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEYS = ("api_key", "read_key")


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
    SettingsError
        If one of them is not whole, or two have the same key or the same catalogue.
    """
    try:
        tables = tomllib.loads(Path(file).read_text(encoding="utf-8")).get("tenants", {})
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    if not isinstance(tables, dict):
        raise SettingsError(f"{file}: write tenants as tables, [tenants.NAME]")
    tenants = [_tenant(file, name, table, settings) for name, table in tables.items()]
    if tenants and (settings.read_key_sha256 or settings.api_key_sha256):
        raise SettingsError(f"{file}: with tenants, each has keys of its own; leave out those of the server")
    _refuse_shared(file, tenants)
    return tenants


def _tenant(file: object, name: str, table: Any, settings: Settings) -> Tenant:
    where = f"{file}, [tenants.{name}]"
    if not _NAME.fullmatch(name) or not isinstance(table, dict):
        raise SettingsError(f"{where}: a tenant's name is small letters, digits and -")
    known = {"catalog", "photos", *_KEYS, *(f"{key}_sha256" for key in _KEYS)}
    unknown = sorted(set(table) - known)
    if unknown or not all(isinstance(value, str) for value in table.values()):
        raise SettingsError(
            f"{where}: {unknown[0] if unknown else 'each value'}: there are texts named "
            f"{', '.join(sorted(known))}"
        )
    if "catalog" not in table:
        raise SettingsError(f"{where}: which catalog?")
    keys: dict[str, Any] = {f"{key}_sha256": table.get(f"{key}_sha256") for key in _KEYS}
    keys |= {f"{key}_sha256": key_sha256(table[key]) for key in _KEYS if key in table}
    if keys["read_key_sha256"] is None:
        raise SettingsError(f"{where}: needs a read_key or read_key_sha256: it is what tells tenants apart")
    own = replace(settings, **keys, photos=table.get("photos", settings.photos))
    return Tenant(name, table["catalog"], own)


def _refuse_shared(file: object, tenants: Sequence[Tenant]) -> None:
    seen: dict[str, str] = {}
    for tenant in tenants:
        own = {tenant.settings.read_key_sha256, tenant.settings.api_key_sha256} - {None}
        for value in (*(str(key) for key in own), tenant.catalog):
            if value in seen:
                what = "catalogue" if value == tenant.catalog else "key"
                raise SettingsError(f"{file}: {seen[value]} and {tenant.name} have the same {what}")
            seen[value] = tenant.name


def share_encoders(catalogs: Sequence[Catalog]) -> None:
    """Let catalogues of the same encoder use one: its memory is needed once."""
    for number, catalog in enumerate(catalogs):
        for other in catalogs[:number]:
            if catalog.share_encoder(other):
                break


class Tenants:
    """An ASGI application in front of those of the tenants.

    Parameters
    ----------
    apps : mapping of str to FastAPI
        By tenant.
    settings : Settings
        Limits for requests that belong to nobody.
    """

    def __init__(self, apps: Mapping[str, FastAPI], settings: Settings) -> None:
        self._apps = dict(apps)
        self._services: dict[str, Service] = {name: app.state.service for name, app in apps.items()}
        self._rate = RateLimit(settings.rate_per_minute)
        self._router = Router(lifespan=self._lifespan)
        self._stranger: ASGIApp = SecurityHeaders(
            BodyLimit(
                self._refuse,
                limit=settings.limit_bytes,
                held=int(settings.held_mb * 1e6),
                seconds=settings.time_limit_s,
            )
        )

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
            return
        if scope["type"] != "http":
            return
        name = self._owner(Request(scope))
        app = self._stranger if name is None else self._apps[name]
        await app(scope, receive, send)

    def _owner(self, request: Request) -> str | None:
        """Return whose key a request has. All keys are compared, so that the time taken tells nothing."""
        given, owner = key_hash(request), None
        for name, service in self._services.items():
            settings = service.settings
            for kept in (settings.read_key_sha256, settings.api_key_sha256):
                if kept is not None and hmac.compare_digest(given, kept):
                    owner = name
        return owner

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what belongs to nobody: whether the process is well, and else that a key is needed."""
        try:
            await self._answer_stranger(scope, receive, send)
        except ProblemError as problem:
            await problem.response()(scope, receive, send)

    async def _answer_stranger(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import JSONResponse

        if scope["path"] in ("/healthz", "/readyz") and scope["method"] in ("GET", "HEAD"):
            if scope["path"] == "/readyz":
                for service in self._services.values():
                    await service.ready()
            await JSONResponse({"status": "ok"})(scope, receive, send)
            return
        client = scope.get("client")
        self._rate.take(f"address {client[0] if client else ''}")
        raise ProblemError(
            401,
            "this server asks for a key: send it as Authorization: Bearer KEY or X-API-Key: KEY",
            headers={"WWW-Authenticate": 'Basic realm="Serupa: the key is the password", Bearer'},
        )
