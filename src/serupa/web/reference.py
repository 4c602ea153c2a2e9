"""`/docs`: the API as a page that needs no script and no other host, made from its OpenAPI description."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import jinja2
from fastapi import APIRouter, Depends, Request
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, JSONResponse, Response

from serupa.web.security import may_see

reference = APIRouter(include_in_schema=False, dependencies=[Depends(may_see)])

_METHODS = ("get", "post", "delete")
_TAGS = {
    "search": "Search",
    "items": "Items",
    "catalogue": "Catalogue",
    "advice": "Advice",
    "events": "Events",
    "admin": "Admin",
    "operation": "Operation",
}


@reference.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Return the description of the API."""
    return JSONResponse(request.app.openapi())


@reference.get("/docs")
async def docs(request: Request) -> Response:
    """Show the description of the API."""
    return HTMLResponse(render(request.app.openapi(), str(request.base_url).rstrip("/")))


@reference.get("/docs/reference.css")
async def style() -> Response:
    """Return the page's style."""
    return Response((files("serupa.web") / "reference.css").read_text("utf-8"), media_type="text/css")


def render(schema: dict[str, Any], base: str) -> str:
    """Return the page.

    Parameters
    ----------
    schema : dict
        An OpenAPI description.
    base : str
        Where the server is, for the examples.
    """
    groups: dict[str, list[dict[str, Any]]] = {tag: [] for tag in _TAGS}
    for path, methods in schema["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                groups[operation["tags"][0]].append(_operation(path, method, operation, base))
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"prose": _prose, "type": _type}
    template = environment.from_string((files("serupa.web") / "reference.html").read_text("utf-8"))
    return template.render(
        info=schema["info"],
        groups=[(title, groups[tag]) for tag, title in _TAGS.items()],
        schemas=schema["components"]["schemas"],
        base=base,
    )


def _operation(path: str, method: str, operation: dict[str, Any], base: str) -> dict[str, Any]:
    """Return what the page shows of an operation."""
    fields = [_field(one, one["schema"], one["in"]) for one in operation.get("parameters", [])]
    form = _content(operation.get("requestBody", {})).get("multipart/form-data", {}).get("schema", {})
    fields += [
        _field({"name": name, "required": name in form.get("required", [])}, one, "form")
        for name, one in form.get("properties", {}).items()
    ]
    answers = []
    for status, answer in operation["responses"].items():
        contents = _content(answer)
        kind = next(iter(contents), "")
        schema = contents[kind].get("schema") if kind else None
        shown = {"status": status, "description": answer["description"], "kind": kind, "schema": schema}
        answers.append(shown)
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation.get("description", ""),
        "fields": fields,
        "answers": sorted(answers, key=lambda answer: str(answer["status"])),
        "example": _example(path, method, fields, base),
    }


def _field(declared: dict[str, Any], schema: dict[str, Any], place: str) -> dict[str, Any]:
    return {
        "in": place,
        "name": declared["name"],
        "required": declared.get("required", False),
        "schema": schema,
        "description": declared.get("description") or schema.get("description", ""),
    }


def _content(part: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = part.get("content", {})
    return content


def _example(path: str, method: str, fields: list[dict[str, Any]], base: str) -> str:
    """Return a call of curl with what must be given."""
    address = base + path.replace("{item_id}", "ITEM_ID")
    words = ["curl"]
    if method == "delete":
        words += ["-X", "DELETE"]
    if method == "delete" or (path == "/api/v1/items" and method == "post"):
        words += ["-H", '"Authorization: Bearer $SERUPA_API_KEY"']
    for one in fields:
        if one["in"] == "form" and (one["required"] or one["name"] == "photo"):
            words += ["-F", "photo=@dress.jpg" if one["name"] == "photo" else f"{one['name']}=ITEM_ID"]
    return " ".join([*words, address])


def _type(schema: dict[str, Any] | None) -> Markup:
    """Return a schema in a few words, with links to the objects."""
    match schema or {}:
        case {"$ref": ref}:
            text = Markup('<a href="#{0}">{0}</a>').format(ref.rsplit("/", 1)[-1])
        case {"enum": values}:
            text = Markup(" | ").join(map(_value, values))
        case {"const": value}:
            text = _value(value)
        case {"anyOf": kinds} | {"oneOf": kinds}:
            text = Markup(" or ").join(map(_type, kinds))
        case {"type": "array", "prefixItems": kinds}:
            text = Markup("[{}]").format(Markup(", ").join(map(_type, kinds)))
        case {"type": "array", "items": kind}:
            text = Markup("list of {}").format(_type(kind))
        case {"type": "object", "additionalProperties": dict() as kind}:
            text = Markup("object of {}").format(_type(kind))
        case {"type": "string", "format": "binary"}:
            text = Markup("file")
        case {"type": kind, "minimum": low, "maximum": high}:
            text = Markup("{}, {:,} to {:,}").format(kind, low, high)
        case {"type": kind}:
            text = escape(kind)
        case _:
            text = Markup("")
    return text


def _value(value: Any) -> Markup:
    return Markup("<code>{}</code>").format(json.dumps(value))


def _prose(text: str) -> Markup:
    """Return a description as HTML: its `code` marked, nothing else of it taken for markup."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped first
