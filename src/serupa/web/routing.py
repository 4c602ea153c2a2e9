"""What the API's routes share: the service, ids in addresses, and how OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Request
from pydantic import AfterValidator, BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from serupa.web.forms import form_body
from serupa.web.problems import MEDIA_TYPE
from serupa.web.schemas import ProblemOut
from serupa.web.security import may_read
from serupa.web.service import Service

Answers = dict[int | str, dict[str, Any]]

_TEXTS = {
    400: "The request cannot be read.",
    401: "A key is needed.",
    403: "This key, or this server, does not allow it.",
    404: "No such item, or its photo is gone.",
    409: "The catalogue is being changed by something else.",
    408: "The request took too long to arrive.",
    413: "The request is too large.",
    415: "Not a multipart form.",
    422: "A parameter, a filter or the photo cannot be used.",
    429: "Too busy, or too many requests: try again after `Retry-After` seconds.",
    503: "No answer in time.",
}
OF_JSON = (400, 403, 408, 413, 503)
"""The statuses of errors of a route that takes JSON and may refuse."""

_FORM_PROBLEMS = (400, 401, 408, 413, 415, 422, 429, 503)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]

ItemId = Annotated[str, AfterValidator(unquote)]
"""Part of an address that stays encoded until the route is found: see `EncodedIds`."""


class EncodedIds:
    """Routes by the address as it was sent: an id may end in ``/image``, its slash encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        if path.startswith(("/api/v1/items/", "/item/")) and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        await self._app(scope, receive, send)


def problems(*statuses: int) -> Answers:
    """Return how OpenAPI describes a route's errors."""
    schema = {"schema": {"$ref": f"#/components/schemas/{ProblemOut.__name__}"}}
    return {status: {"description": _TEXTS[status], "content": {MEDIA_TYPE: schema}} for status in statuses}


def described(
    tag: str,
    summary: str,
    answer: type[BaseModel] | None,
    *also: int,
    form: type[BaseModel] | None = None,
    answers: Answers | None = None,
    who: Callable[..., None] = may_read,
) -> dict[str, Any]:
    """Return what a route's decorator is told.

    Parameters
    ----------
    tag, summary : str
    answer : type of BaseModel
        What it answers with; None for something else than JSON.
    also : int
        The statuses of errors besides those that every route has, or every route with a form.
    form : type of BaseModel, optional
        The form that it takes.
    answers : dict, optional
        Other answers than errors.
    who : callable
        Lets in whoever may ask.
    """
    statuses = (*(_FORM_PROBLEMS if form else (401, 422, 429)), *also)
    shared: dict[str, Any] = {"tags": [tag], "summary": summary, "dependencies": [Depends(who)]}
    shared["responses"] = (answers or {}) | problems(*statuses)
    if answer is not None:
        shared["response_model"] = answer
    if form is not None:
        shared["openapi_extra"] = form_body(form)
    return shared
