"""The REST API's events: searches are noted here, clicks told by who shows results, purchases by the shop."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from serupa.events.log import Click, Event, Purchase, Search
from serupa.web.problems import ProblemError
from serupa.web.routing import OF_JSON, Serving, described
from serupa.web.schemas import ClickIn, PurchaseIn, SearchOut
from serupa.web.security import may_write

if TYPE_CHECKING:
    from serupa.catalog.query import SearchRequest
    from serupa.web.service import Service

events = APIRouter(prefix="/api/v1/events")


def noted(service: Service, answer: SearchOut, asked: SearchRequest, *, photo: bool = False) -> SearchOut:
    """Return an answer with the number that its search is noted by; as it is where nothing is noted."""
    if service.events is None:
        return answer
    number = secrets.token_urlsafe(9)
    service.record(
        Search(
            id=number,
            by="item" if asked.item_id is not None else "photo" if photo else "words",
            item=asked.item_id,
            words=asked.text,
            kind=answer.kind,
            where=tuple(map(str, asked.where or ())),
            close=answer.close,
            shown=tuple(hit.id for hit in answer.hits),
            offset=asked.offset,
        )
    )
    return answer.model_copy(update={"search": number})


@events.post(
    "/click",
    status_code=204,
    response_class=Response,
    **described("events", "Tell a click", None, *OF_JSON),
)
async def click(service: Serving, told: ClickIn) -> Response:
    """Note that a result was followed. Who followed it is neither asked nor noted."""
    return _noted(service, Click(search=told.search, item=told.item, to=told.to))


@events.post(
    "/purchase",
    status_code=204,
    response_class=Response,
    **described("events", "Tell a purchase", None, *OF_JSON, who=may_write),
)
async def purchase(service: Serving, told: PurchaseIn) -> Response:
    """Note that an item was bought. Needs the API key: the shop's own server says so."""
    return _noted(service, Purchase(item=told.item, search=told.search))


def _noted(service: Service, event: Event) -> Response:
    if service.events is None:
        raise ProblemError(403, "events are off: start the server with --events-days")
    service.record(event)
    return Response(status_code=204)
