"""The ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import serupa
from serupa.errors import MissingExtraError
from serupa.web.admin import admin
from serupa.web.advice import advice
from serupa.web.settings import Settings

try:
    import jinja2  # noqa: F401
    import prometheus_client  # noqa: F401
    import python_multipart  # noqa: F401
    from fastapi import FastAPI
    from starlette.middleware.cors import CORSMiddleware
    from starlette.middleware.gzip import GZipMiddleware
except ImportError as error:
    raise MissingExtraError("the web application", "web") from error

from serupa.web.assets import assets
from serupa.web.brand import read_brand
from serupa.web.events import events
from serupa.web.limits import BodyLimit
from serupa.web.logs import Record
from serupa.web.pages import missing_page, pages
from serupa.web.problems import answer_problems
from serupa.web.reference import reference
from serupa.web.routes import api, health
from serupa.web.routing import EncodedIds
from serupa.web.schemas import ProblemOut
from serupa.web.security import KnownHosts, SecurityHeaders, cors
from serupa.web.service import Service

if TYPE_CHECKING:
    from serupa.catalog import Catalog

_DESCRIPTION = (
    "Visual search for fashion: photo in, look-alikes out. Every error is `application/problem+json` "
    "(RFC 9457)."
)


def create_app(catalog: Catalog, settings: Settings | None = None, *, name: str = "") -> FastAPI:
    """Make the web application of a catalogue.

    Parameters
    ----------
    catalog : Catalog
        Open; whoever opened it closes it when the application has ended.
    settings : Settings, optional
        What the server allows; the defaults unless given: reading for everybody, changes for nobody.
    name : str
        Of the tenant, where there are several: their thumbnails are stored apart.

    Returns
    -------
    FastAPI
        An ASGI application for one process and one event loop.

    Raises
    ------
    MissingExtraError
        If the ``web`` extra is not installed.
    """
    settings = settings or Settings()
    service = Service(catalog, settings, name)
    brand = read_brand(settings.brand)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="Serupa",
        version=serupa.__version__,
        description=_DESCRIPTION,
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.brand = brand
    answer_problems(app, missing_page)
    app.include_router(api)
    app.include_router(advice)
    app.include_router(events)
    app.include_router(admin)
    app.include_router(health)
    app.include_router(reference)
    app.include_router(pages)
    app.mount("/static", assets, name="static")
    app.mount("/brand", brand.assets, name="brand")
    _describe(app, service)
    app.add_middleware(GZipMiddleware, compresslevel=5)
    app.add_middleware(EncodedIds)
    app.add_middleware(KnownHosts, hosts=settings.allowed_hosts)
    app.add_middleware(
        BodyLimit,
        limit=settings.limit_bytes,
        held=settings.held_bytes,
        seconds=settings.time_limit_s,
    )
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **cors(settings))
    app.add_middleware(Record, metrics=service.metrics)
    app.add_middleware(SecurityHeaders, frame_origins=settings.frame_origins)
    return app


def _describe(app: FastAPI, service: Service) -> None:
    """Correct what FastAPI cannot know of the API: its errors, and whether reading needs a key."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = make()
        schemas = schema["components"]["schemas"]
        problem = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**problem.pop("$defs"), ProblemOut.__name__: problem}
        for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which is never sent
            schemas.pop(unused, None)
        for methods in schema["paths"].values():
            for operation in methods.values():
                if service.gate.open and "403" not in operation["responses"]:
                    operation.pop("security", None)
                    operation["responses"].pop("401", None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
