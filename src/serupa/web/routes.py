"""The REST API, version 1."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

import serupa
from serupa.errors import SerupaError
from serupa.explain import explain
from serupa.filters import Condition, as_filter
from serupa.images import MAX_PIXELS, Crop
from serupa.web.forms import form_body, read_form
from serupa.web.problems import MEDIA_TYPE, ProblemError, refused
from serupa.web.schemas import (
    By,
    Conditions,
    ExplainForm,
    ExplainOut,
    Facets,
    Info,
    ItemDetail,
    ItemForm,
    ItemOut,
    ItemPage,
    K,
    Limits,
    Metric,
    NumberFacet,
    Offset,
    ProblemOut,
    SearchForm,
    SearchOut,
    Status,
    TextFacet,
    ValueCount,
    read_attributes,
)
from serupa.web.security import may_read, may_see, may_write
from serupa.web.thumbnails import SIZES

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.items import Item
    from serupa.web.service import Service
    from serupa.web.uploads import Uploads

_LARGEST_K = 100
_PRODUCT_PHOTOS = 100
_VALUES = 100

Answers = dict[int | str, dict[str, Any]]

_TEXTS = {
    400: "The form cannot be read.",
    401: "A key is needed.",
    403: "This key, or this server, does not allow it.",
    404: "No such item, or its photo is gone.",
    408: "The request took too long to arrive.",
    413: "The request is too large.",
    415: "Not a multipart form.",
    422: "A parameter, a filter or the photo cannot be used.",
    429: "Too busy, or too many requests: try again after `Retry-After` seconds.",
    503: "No answer in time.",
}


def problems(*statuses: int) -> Answers:
    """Return how OpenAPI describes a route's errors."""
    schema = {"schema": {"$ref": f"#/components/schemas/{ProblemOut.__name__}"}}
    return {status: {"description": _TEXTS[status], "content": {MEDIA_TYPE: schema}} for status in statuses}


_READ = problems(401, 422, 429)
FORM_PROBLEMS = problems(400, 401, 408, 413, 415, 422, 429, 503)
_IMAGE: Answers = {
    200: {"description": "The photo, upright, without metadata.", "content": {"image/jpeg": {}}},
    304: {"description": "The photo that the client has is still right."},
}
_REPLACED: Answers = {200: {"model": ItemOut, "description": "The item was there and is replaced."}}
_METRICS: Answers = {200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}}

api = APIRouter(prefix="/api/v1")
health = APIRouter()

Where = Annotated[Conditions, Query()]
ItemId = str


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@api.post(
    "/search",
    tags=["search"],
    summary="Find what looks like a photo",
    response_model=SearchOut,
    responses=FORM_PROBLEMS,
    openapi_extra=form_body(SearchForm),
    dependencies=[Depends(may_read)],
)
async def search(request: Request) -> SearchOut:
    """Send a photo, get its nearest items. The photo is not stored."""
    service = _service(request)
    form = await read_form(request, SearchForm)
    crop = Crop.parse(form.crop) if form.crop else None
    found, timing = await service.answered(
        request,
        service.search(
            form.photo,
            form.k + 1,
            metric=form.metric,
            where=form.where,
            by=form.by,
            crop=crop,
            offset=form.offset,
        ),
    )
    return SearchOut.of(found, form.k, form.offset, timing)


@api.post(
    "/explain",
    tags=["search"],
    summary="Show which regions make two photos alike",
    response_model=ExplainOut,
    responses=FORM_PROBLEMS | problems(404),
    openapi_extra=form_body(ExplainForm),
    dependencies=[Depends(may_read)],
)
async def explanation(request: Request) -> ExplainOut:
    """Send a photo (or name an item with `from_id`) and an item; get what each region contributes."""
    service = _service(request)
    form = await read_form(request, ExplainForm)
    if (form.photo is None) == (form.from_id is None):
        raise ProblemError(422, "send either photo or from_id")
    crop = Crop.parse(form.crop) if form.crop else None
    catalog = service.catalog

    def work() -> ExplainOut:
        photo = form.photo or _photo_of(catalog, str(form.from_id))
        return ExplainOut.of(explain(catalog, photo, form.item_id, crop=crop, metric=form.metric))

    return await service.answered(request, service.pool.run(work))


@api.get(
    "/items",
    tags=["items"],
    summary="List items",
    response_model=ItemPage,
    responses=_READ,
    dependencies=[Depends(may_read)],
)
async def items(
    request: Request,
    where: Where = [],  # noqa: B006 -- FastAPI copies it
    limit: Annotated[int, Query(ge=1, le=500, description="How many items.")] = 50,
    after: Annotated[
        str | None, Query(max_length=1000, description="The `next` of the page before: what follows it.")
    ] = None,
    offset: Annotated[
        int, Query(ge=0, le=100_000, description="How many to pass over; `after` is faster.")
    ] = 0,
) -> ItemPage:
    """List the items that pass the filters, in an order that stays while the catalogue does."""
    service = _service(request)

    def work() -> list[Item]:
        return list(islice(service.catalog.items(where, after=after), offset, offset + limit + 1))

    found = await service.answered(request, service.reading(work))
    more = len(found) > limit
    return ItemPage(
        items=[ItemOut.of(item) for item in found[:limit]],
        more=more,
        next=found[limit - 1].id if more else None,
    )


@api.get(
    "/items/{item_id:path}/similar",
    tags=["search"],
    summary="Find what looks like an item",
    response_model=SearchOut,
    responses=_READ | problems(404),
    dependencies=[Depends(may_read)],
)
async def similar(
    request: Request,
    *,
    item_id: ItemId,
    k: Annotated[K, Query()] = 10,
    metric: Annotated[Metric, Query()] = None,
    by: Annotated[By, Query()] = "item",
    where: Where = [],  # noqa: B006
    offset: Annotated[Offset, Query()] = 0,
) -> SearchOut:
    """Search with a photo of the catalogue; the item itself is left out, by product its whole product."""
    service = _service(request)
    found = await service.answered(
        request,
        service.reading(
            lambda: service.catalog.similar(
                item_id, k + 1, metric=metric, where=as_filter(where), by=by, offset=offset
            )
        ),
    )
    service.metrics.search.observe(found.timing_ms["search"] / 1e3)
    return SearchOut.of(found, k, offset, dict(found.timing_ms))


@api.get(
    "/items/{item_id:path}/image",
    tags=["items"],
    summary="Get an item's photo",
    response_class=Response,
    responses=_IMAGE | problems(401, 404, 422, 429),
    dependencies=[Depends(may_see)],
)
async def image(
    request: Request,
    item_id: ItemId,
    size: Annotated[
        int,
        Query(ge=1, le=SIZES[-1], description="Long side in pixels, rounded up to 160, 320, 640, 1280."),
    ] = 640,
) -> Response:
    """Return an item's photo as a JPEG; a photo that is smaller comes as large as it is."""
    service = _service(request)

    def work() -> Response:
        photo = _photo_of(service.catalog, item_id)
        try:
            wanted = service.thumbnails.identify(photo, size)
            headers = {
                "ETag": wanted.etag,
                "Cache-Control": f"{'public' if service.gate.open else 'private'}, max-age=600",
            }
            if _knows(request.headers.get("if-none-match", ""), wanted.etag):
                return Response(status_code=304, headers=headers)
            data, kept = service.thumbnails.read(photo, wanted)
        except SerupaError:
            raise ProblemError(
                404, f"{item_id}: its photo is missing or cannot be read", code="photo-missing"
            ) from None
        service.metrics.thumbnails.labels("cache" if kept else "made").inc()
        return Response(data, headers=headers, media_type="image/jpeg")

    return await service.drawing(work)


@api.get(
    "/items/{item_id:path}",
    tags=["items"],
    summary="Get an item",
    response_model=ItemDetail,
    responses=_READ | problems(404),
    dependencies=[Depends(may_read)],
)
async def item(request: Request, item_id: ItemId) -> ItemDetail:
    """Return an item and the other photos of its product."""
    service = _service(request)
    return await service.answered(request, service.reading(lambda: detail(service.catalog, item_id)))


@api.post(
    "/items",
    tags=["items"],
    summary="Add or replace an item",
    status_code=201,
    response_model=ItemOut,
    responses=_REPLACED | FORM_PROBLEMS | problems(403),
    openapi_extra=form_body(ItemForm),
    dependencies=[Depends(may_write)],
)
async def add_item(request: Request, response: Response) -> ItemOut:
    """Add an item with its photo; an item that has the same id is replaced. Needs the API key."""
    service = _service(request)
    form = await read_form(request, ItemForm)
    try:
        attributes = read_attributes(form.attributes)
    except ValueError as error:
        raise refused("attributes", str(error)) from None

    def work(uploads: Uploads) -> tuple[Item, bool]:
        return uploads.add(form.id, form.photo, form.product_id, attributes)

    added, new = await service.answered(request, service.writing(work))
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/api/v1/items/{quote(added.id, safe='')}"
    return ItemOut.of(added)


@api.delete(
    "/items/{item_id:path}",
    tags=["items"],
    summary="Remove an item",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404, 422, 429, 503),
    dependencies=[Depends(may_write)],
)
async def remove_item(request: Request, item_id: ItemId) -> Response:
    """Remove an item, and its photo if it was added through the API. Needs the API key."""
    service = _service(request)
    await service.answered(request, service.writing(lambda uploads: uploads.remove(item_id)))
    return Response(status_code=204)


@api.get(
    "/facets",
    tags=["catalogue"],
    summary="See what there is to filter by",
    response_model=Facets,
    responses=_READ,
    dependencies=[Depends(may_read)],
)
async def facets(request: Request, where: Where = []) -> Facets:  # noqa: B006
    """Count the values of every text field and bound every number field, among the items that pass."""
    service = _service(request)

    def work() -> Facets:
        conditions = as_filter(where)
        found = [
            _facet(service.catalog, name, conditions)
            for name, kind in service.catalog.fields.items()
            if kind != "words"
        ]
        return Facets(fields=[one for one in found if one is not None])

    return await service.answered(request, service.reading(work))


@api.get(
    "/info",
    tags=["catalogue"],
    summary="See what the catalogue is and holds",
    response_model=Info,
    responses=problems(401, 429),
    dependencies=[Depends(may_read)],
)
async def info(request: Request) -> Info:
    """Return the catalogue's encoder, metrics, fields and size, and what the server takes."""
    service = _service(request)
    found = await service.answered(request, service.reading(service.catalog.info))
    del found["path"]
    return Info(
        **found,
        tuned=found["tuning"] is not None,
        version=serupa.__version__,
        writable=service.gate.writable,
        explains=service.explains,
        limits=Limits(body_bytes=service.settings.limit_bytes, pixels=MAX_PIXELS, k=_LARGEST_K),
    )


@health.head("/healthz", include_in_schema=False)
@health.get("/healthz", tags=["operation"], summary="Is the process up?", response_model=Status)
async def healthz() -> Status:
    """Answer as long as the process does."""
    return Status()


@health.head("/readyz", include_in_schema=False)
@health.get(
    "/readyz",
    tags=["operation"],
    summary="Can it answer searches?",
    response_model=Status,
    responses=problems(503),
)
async def readyz(request: Request) -> Status:
    """Answer when the catalogue is open and its encoder has been loaded and tried."""
    await _service(request).ready()
    return Status()


@health.get(
    "/metrics",
    tags=["operation"],
    summary="Measure it with Prometheus",
    response_class=Response,
    responses=_METRICS | problems(401),
    dependencies=[Depends(may_see)],
)
async def metrics(request: Request) -> Response:
    """Return request counts and latencies by route, encode and search times, the queue, and the size."""
    service = _service(request)
    text = service.metrics.text(await service.reading(service.catalog.count))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def detail(catalog: Catalog, item_id: str) -> ItemDetail:
    """Return an item with the other photos of its product."""
    found = catalog.get(item_id)
    photos: list[Item] = []
    if found.product_id is not None:
        same = catalog.items({"product_id": found.product_id})
        photos = [one for one in islice(same, _PRODUCT_PHOTOS + 1) if one.id != item_id][:_PRODUCT_PHOTOS]
    out = ItemOut.of(found)
    return ItemDetail(
        **out.model_dump(), photos=[ItemOut.of(one) for one in sorted(photos, key=lambda p: p.id)]
    )


def _photo_of(catalog: Catalog, item_id: str) -> str:
    """Return the path of an item's photo; only the catalogue says which files are served."""
    return catalog.get(item_id).image


def _knows(header: str, etag: str) -> bool:
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in header.split(","))


def _facet(catalog: Catalog, name: str, conditions: tuple[Condition, ...]) -> TextFacet | NumberFacet | None:
    values = catalog.facets(name, where=conditions, limit=_VALUES + 1)
    if values is None:
        return None
    if isinstance(values, tuple):
        return NumberFacet(name=name, min=values[0], max=values[1])
    counts = [ValueCount(value=value, count=count) for value, count in values]
    return TextFacet(name=name, values=counts[:_VALUES], more=len(counts) > _VALUES)
