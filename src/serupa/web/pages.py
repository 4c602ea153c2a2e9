"""The pages for people: the shopper's, and one for those who run the search."""

from __future__ import annotations

import html
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.templating import Jinja2Templates

from serupa.errors import NotFoundError
from serupa.web.assets import assets
from serupa.web.routes import detail, told
from serupa.web.routing import ItemId, Serving
from serupa.web.schemas import ItemOut
from serupa.web.security import UNFRAMED, may_see
from serupa.web.texts import ADMIN_TEXTS, in_language, language_of

pages = APIRouter(include_in_schema=False, dependencies=[Depends(may_see)])
_templates = Jinja2Templates(Path(str(files("serupa.web") / "templates")), context_processors=[in_language])
_templates.env.globals |= {"static": assets.url, "modules_of": assets.modules}
_templates.env.filters |= {
    "plain": html.unescape,  # tables of shops often hold HTML's character entities
    "last_part": lambda path: re.split("[/>]", path)[-1].strip(),  # of a category such as Men/Tops/Shirts
}

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


@pages.api_route("/admin", **_PAGE)
async def admin_page(request: Request) -> Response:
    """Show the page of those who run the search; without the API key there is nothing on it."""
    page = _page(request, "admin.html", {"admin_texts": ADMIN_TEXTS[language_of(request)]})
    page.headers.update(UNFRAMED)
    return page


def missing_page(request: Request) -> Response | None:
    """Return the page for an address of nothing; None for who asks for something else than a page."""
    programs = request.scope["path"].startswith(("/api/", "/static/"))
    if programs or "text/html" not in request.headers.get("accept", ""):
        return None
    return _page(request, "missing.html", status=404)
