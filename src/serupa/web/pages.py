"""The pages for people: search, one item, and the quality of the catalogue's search."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from serupa.errors import NotFoundError
from serupa.web.assets import assets
from serupa.web.problems import ProblemError
from serupa.web.routes import detail, told
from serupa.web.routing import ItemId, Serving
from serupa.web.schemas import ItemOut
from serupa.web.security import may_see
from serupa.web.texts import in_language

pages = APIRouter(include_in_schema=False, dependencies=[Depends(may_see)])
_templates = Jinja2Templates(Path(str(files("serupa.web") / "templates")), context_processors=[in_language])
_templates.env.globals |= {"static": assets.url, "modules_of": assets.modules}
_templates.env.filters["plain"] = html.unescape  # tables of shops often hold HTML's character entities

_FIGURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.(svg|png)")
_ORDER = (  # what a reader asks first comes first; figures that are not known come last
    "precision-and-recall",
    "similarity-of-pairs",
    "map-of-items",
    "example-queries",
    "best-queries",
    "worst-queries",
    "largest-classes",
    "images-per-class",
)


_PAGE: dict[str, Any] = {"methods": ["GET", "HEAD"]}


def _page(
    request: Request, template: str, context: dict[str, Any] | None = None, status: int = 200
) -> Response:
    """Return a page; it is another one in another language and theme."""
    headers = {"Cache-Control": "private, no-cache", "Vary": "Accept-Language, Cookie"}
    return _templates.TemplateResponse(request, template, context, status, headers)


def _offered(entry: str) -> Any:
    """Let nobody see a page that the shop does without."""

    def check(request: Request) -> None:
        if entry not in request.app.state.brand.menu:
            raise HTTPException(404)

    return Depends(check)


@pages.api_route("/", **_PAGE)
async def search_page(request: Request, service: Serving) -> Response:
    """Show the search and what the shop has, or lead to the page that it has in its place."""
    if request.app.state.brand.home != "/":
        return RedirectResponse(request.app.state.brand.home)
    front = await service.front()
    context: dict[str, Any] = {"front": None}
    if front is not None:
        context["front"] = {
            "about": told(service, front.about).model_dump(),
            "kinds": [(name, ItemOut.of(item)) for name, item in front.kinds],
            "products": [ItemOut.of(item) for item in front.products],
            "newest": front.newest,
            "samples": [ItemOut.of(item) for item in front.samples],
        }
    return _page(request, "search.html", context)


@pages.api_route("/item/{item_id:path}", **_PAGE)
async def item_page(request: Request, service: Serving, item_id: ItemId) -> Response:
    """Show an item; the page says so if there is none."""
    try:
        item = await service.reading(lambda: detail(service.catalog, item_id).model_dump())
    except NotFoundError:
        return _page(request, "item.html", {"item": None}, 404)
    return _page(request, "item.html", {"item": item})


@pages.api_route("/for-you", dependencies=[_offered("for-you")], **_PAGE)
async def for_you_page(request: Request) -> Response:
    """Show what the hearts that a browser keeps lead to."""
    return _page(request, "for-you.html")


@pages.api_route("/wardrobe", dependencies=[_offered("wardrobe")], **_PAGE)
async def wardrobe_page(request: Request) -> Response:
    """Show the clothes that a browser keeps."""
    return _page(request, "wardrobe.html")


@pages.api_route("/quality", **_PAGE)
async def quality_page(request: Request, service: Serving) -> Response:
    """Show the catalogue's last evaluation, if there is one."""
    folder = service.catalog.backend.folder
    report, figures = await service.reading(lambda: (_report(folder), _figures(folder)))
    context = {
        "report": report,
        "figures": [
            {"url": f"/quality/figures/{path.name}", "name": path.stem, "title": _title(path.stem)}
            for path in _shown(figures.values())
        ],
    }
    return _page(request, "quality.html", context)


@pages.get("/quality/figures/{name}")
async def figure(service: Serving, name: str) -> Response:
    """Return a figure of the evaluation: one of those that are there, never a path that is made up."""
    folder = service.catalog.backend.folder
    figures = await service.reading(lambda: _figures(folder))
    if name not in figures:
        raise ProblemError(404, "the evaluation has no such figure")
    return FileResponse(figures[name], headers={"Cache-Control": "no-cache"})


def missing_page(request: Request) -> Response | None:
    """Return the page for an address of nothing; None for who asks for something else than a page."""
    programs = request.scope["path"].startswith(("/api/", "/static/"))
    if programs or "text/html" not in request.headers.get("accept", ""):
        return None
    return _page(request, "missing.html", status=404)


class _Means(msgspec.Struct):
    """Means of one metric, and intervals where there are any."""

    precision: dict[str, float]
    recall: dict[str, float]
    map: float
    ci95: dict[str, dict[str, tuple[float, float]] | tuple[float, float] | None] | None = None


class _Report(msgspec.Struct):
    """What the page shows of an evaluation."""

    metrics: Annotated[dict[str, _Means], msgspec.Meta(min_length=1)]
    label: str
    queries: int
    items: int | None = None
    seed: int | None = None


def _report(folder: Path | None) -> _Report | None:
    """Return an evaluation that `serupa evaluate --report` has left; None where there is none to show."""
    if folder is None:
        return None
    try:
        return msgspec.json.decode((folder / "evaluation" / "evaluation.json").read_bytes(), type=_Report)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def _figures(folder: Path | None) -> dict[str, Path]:
    """Return the figures of an evaluation by name."""
    if folder is None:
        return {}
    files = [*folder.glob("evaluation/*.*"), *folder.glob("evaluation/figures/*.*")]
    return {path.name: path for path in sorted(files) if _FIGURE.fullmatch(path.name)}


def _shown(figures: Iterable[Path]) -> list[Path]:
    """Return each figure once, in the format that takes fewer bytes, in the order of the page."""
    formats: dict[str, list[Path]] = {}
    for path in figures:
        formats.setdefault(path.stem, []).append(path)
    smallest = [min(paths, key=lambda path: path.stat().st_size) for paths in formats.values()]
    place = {stem: number for number, stem in enumerate(_ORDER)}
    return sorted(smallest, key=lambda path: (place.get(path.stem, len(place)), path.stem))


def _title(stem: str) -> str:
    return re.sub(r"[_-]+", " ", stem).capitalize()
