"""The REST API, version 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

import serupa
from serupa.catalog.offers import newest_field
from serupa.catalog.query import TEXT_WEIGHT, SearchRequest
from serupa.errors import InvalidInputError, SerupaError
from serupa.explain import explain
from serupa.files.urls import is_remote
from serupa.filters import Scalar
from serupa.garments.regions import region_head_of, regions_in
from serupa.images import MAX_PIXELS, Crop, read_bytes
from serupa.items import Item
from serupa.web.events import noted
from serupa.web.forms import read_form
from serupa.web.problems import ProblemError, photo_problem, refused
from serupa.web.routing import OF_JSON, Answers, ItemId, Serving, described, problems
from serupa.web.schemas import (
    By,
    CatalogStatus,
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
    RegionOut,
    RegionsForm,
    RegionsOut,
    SearchForm,
    SearchOut,
    Sort,
    Status,
    SyncFailure,
    SyncIn,
    SyncOut,
    Text,
    TextFacet,
    TextWeight,
    ValueCount,
    read_attributes,
)
from serupa.web.security import may_see, may_write
from serupa.web.thumbnails import SIZES

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.web.service import Service
    from serupa.web.uploads import Uploads

_LARGEST_K = 100
_PRODUCT_PHOTOS = 100

_IMAGE: Answers = {
    200: {
        "description": "The photo, upright, without metadata.",
        "content": {"image/jpeg": {}, "image/webp": {}},
    },
    304: {"description": "The photo that the client has is still right."},
}
_REPLACED: Answers = {200: {"model": ItemOut, "description": "The item was there and is replaced."}}
_METRICS: Answers = {200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}}

api = APIRouter(prefix="/api/v1")
health = APIRouter()

Where = Annotated[Conditions, Query()]


@api.post(
    "/search",
    **described("search", "Find what looks like a photo, or has some words", SearchOut, form=SearchForm),
)
async def search(request: Request, service: Serving) -> SearchOut:
    """Send a photo, words, or both; get the nearest items. The photo is not stored."""
    form = await read_form(request, SearchForm)
    crop = Crop.parse(form.crop) if form.crop else None
    asked = SearchRequest(
        text=form.text,
        text_weight=form.text_weight,
        metric=form.metric,
        k=form.k + 1,
        offset=form.offset,
        where=form.where,
        by=form.by,
        kind=form.kind,
        sort=form.sort,
    )
    result = await service.answered(request, service.search(form.photo, crop, asked))
    found = SearchOut.of(result, form.k, form.offset)
    return noted(service, found, asked, photo=form.photo is not None)


@api.post("/regions", **described("search", "Find the garments in a photo", RegionsOut, form=RegionsForm))
async def regions(request: Request, service: Serving) -> RegionsOut:
    """Send a photo of a person; get a box for each garment. Search with one as `crop`."""
    form = await read_form(request, RegionsForm)
    catalog = service.catalog

    def work() -> RegionsOut:
        try:
            found = regions_in(catalog, form.photo)
        except InvalidInputError as error:
            raise photo_problem(error) from None
        return RegionsOut(regions=[RegionOut(**one.to_dict()) for one in found])

    return await service.answered(request, service.pool.run(work))


@api.get("/search", **described("search", "Find what has some words", SearchOut))
async def search_by_words(
    request: Request,
    service: Serving,
    *,
    text: Annotated[str, Query(min_length=1, max_length=500, description="In English or Indonesian.")],
    k: Annotated[K, Query()] = 10,
    by: Annotated[By, Query()] = "item",
    where: Where = [],  # noqa: B006
    offset: Annotated[Offset, Query()] = 0,
) -> SearchOut:
    """Search by words alone: what the shop says of items, kinds of garment, and colours."""
    asked = SearchRequest(text=text, k=k + 1, offset=offset, where=where, by=by)
    result = await service.answered(request, service.ask(asked))
    return noted(service, SearchOut.of(result, k, offset), asked)


@api.post(
    "/explain",
    **described("search", "Show which regions make two photos alike", ExplainOut, 404, form=ExplainForm),
)
async def explanation(request: Request, service: Serving) -> ExplainOut:
    """Send a photo (or name an item with `from_id`) and an item; get what each region contributes."""
    form = await read_form(request, ExplainForm)
    if (form.photo is None) == (form.from_id is None):
        raise ProblemError(422, "send either photo or from_id")
    crop = Crop.parse(form.crop) if form.crop else None
    catalog = service.catalog
    asked = [one for one in (form.item_id, form.from_id) if one is not None]
    images = await service.reading(lambda: {one: catalog.get(one).image for one in asked})

    def work() -> ExplainOut:
        for item_id, image in images.items():
            with photo_of(item_id):
                read_bytes(image)
        photo = form.photo or images[str(form.from_id)]
        try:
            return ExplainOut.of(explain(catalog, photo, form.item_id, crop=crop, metric=form.metric))
        except InvalidInputError as error:
            raise photo_problem(error) from None

    threads = service.fetchers if any(map(is_remote, images.values())) else None
    return await service.answered(request, service.pool.run(service.shared.reading(work), threads))


@api.get("/items", **described("items", "List items", ItemPage))
async def items(
    request: Request,
    service: Serving,
    *,
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

    def work() -> list[Item]:
        return list(islice(service.catalog.items(where, after=after), offset, offset + limit + 1))

    page = await service.answered(request, service.reading(work))
    more = len(page) > limit
    return ItemPage(
        items=[ItemOut.of(item) for item in page[:limit]],
        more=more,
        next=page[limit - 1].id if more else None,
    )


@api.get(
    "/items/{item_id:path}/similar",
    **described("search", "Find what looks like an item", SearchOut, 404),
)
async def similar(
    request: Request,
    service: Serving,
    *,
    item_id: ItemId,
    k: Annotated[K, Query()] = 10,
    text: Annotated[Text, Query()] = None,
    text_weight: Annotated[TextWeight, Query()] = TEXT_WEIGHT,
    metric: Annotated[Metric, Query()] = None,
    by: Annotated[By, Query()] = "item",
    where: Where = [],  # noqa: B006
    sort: Annotated[Sort, Query()] = None,
    offset: Annotated[Offset, Query()] = 0,
) -> SearchOut:
    """Search with a photo of the catalogue; the item itself is left out, by product its whole product.

    With a text, the other items of its product may be hits, too: the same style in another colour.
    """
    asked = SearchRequest(
        item_id=item_id,
        text=text,
        text_weight=text_weight,
        metric=metric,
        k=k + 1,
        offset=offset,
        where=where,
        by=by,
        sort=sort,
    )
    result = await service.answered(request, service.ask(asked))
    return noted(service, SearchOut.of(result, k, offset), asked)


@api.get(
    "/items/{item_id:path}/image",
    response_class=Response,
    **described("items", "Get an item's photo", None, 404, answers=_IMAGE, who=may_see),
)
async def image(
    request: Request,
    service: Serving,
    item_id: ItemId,
    size: Annotated[
        int,
        Query(
            ge=1,
            le=SIZES[-1],
            description=f"Long side in pixels, rounded up to {', '.join(map(str, SIZES))}.",
        ),
    ] = 640,
) -> Response:
    """Return an item's photo, as WebP to who takes it; a photo that is smaller comes as large as it is."""
    webp = "image/webp" in request.headers.get("accept", "")

    photo = (await service.reading(lambda: service.catalog.get(item_id))).image

    def work() -> Response:
        with photo_of(item_id):
            thumbnail = service.thumbnails.identify(photo, size, webp=webp)
            who = "public" if service.gate.open else "private"
            headers = {
                "ETag": thumbnail.etag,
                "Cache-Control": f"{who}, max-age=600, stale-while-revalidate=86400",
                "Vary": "Accept",
            }
            if _has(request.headers.get("if-none-match", ""), thumbnail.etag):
                return Response(status_code=304, headers=headers)
            data, cached = service.thumbnails.read(photo, thumbnail)
        service.metrics.thumbnails.labels("cache" if cached else "made").inc()
        return Response(data, headers=headers, media_type=f"image/{'webp' if webp else 'jpeg'}")

    return await service.answered(request, service.drawing(work, fetches=is_remote(photo)))


@api.get("/items/{item_id:path}", **described("items", "Get an item", ItemDetail, 404))
async def item(request: Request, service: Serving, item_id: ItemId) -> ItemDetail:
    """Return an item and the other photos of its product."""
    return await service.answered(request, service.reading(lambda: detail(service.catalog, item_id)))


@api.post(
    "/items",
    status_code=201,
    **described(
        "items", "Add or replace an item", ItemOut, 403, 409, form=ItemForm, answers=_REPLACED, who=may_write
    ),
)
async def add_item(request: Request, response: Response, service: Serving) -> ItemOut:
    """Add an item with its photo; an item that has the same id is replaced. Needs the API key."""
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


@api.post("/items:sync", **described("items", "Change items", SyncOut, *OF_JSON, 409, who=may_write))
async def sync_items(request: Request, service: Serving, changes: SyncIn) -> SyncOut:
    """Add, replace and remove items whose photos are on the web, as a shop's webhook says.

    Needs the API key.
    The server fetches the photos. Ids to remove that the catalogue does not have are passed over.
    """
    given = [Item(one.id, one.image, one.product_id, one.attributes) for one in changes.items]
    return await service.answered(
        request, service.writing(lambda uploads: _synced(uploads, given, changes.removed))
    )


def _synced(uploads: Uploads, items: list[Item], removed: list[str]) -> SyncOut:
    report = uploads.add_from_web(items)
    failed = [SyncFailure(id=failure.id, reason=failure.problem) for failure in report.failures]
    return SyncOut(
        added=report.added,
        updated=report.updated,
        unchanged=report.unchanged,
        removed=uploads.remove_all(removed),
        failed=failed,
    )


@api.delete(
    "/items/{item_id:path}",
    status_code=204,
    response_class=Response,
    **described("items", "Remove an item", None, 403, 404, 409, 503, who=may_write),
)
async def remove_item(request: Request, service: Serving, item_id: ItemId) -> Response:
    """Remove an item, and its photo if it was added through the API. Needs the API key."""
    await service.answered(request, service.writing(lambda uploads: uploads.remove(item_id)))
    return Response(status_code=204)


@api.get("/facets", **described("catalogue", "See what there is to filter by", Facets))
async def facets(
    request: Request,
    service: Serving,
    *,
    where: Where = [],  # noqa: B006
    by: Annotated[By, Query()] = "item",
    values: Annotated[int, Query(ge=1, le=1000, description="Most values of a field.")] = 100,
) -> Facets:
    """Count the values of every text field and bound every number field, among what the other filters let by.

    A filter on a field itself does not change what is said of that field: it shows what else could be chosen.
    """
    counts = await service.answered(request, service.counts())
    found = await service.reading(lambda: counts.facets(where, by=by, limit=values + 1))
    return Facets(fields=[_facet(name, one, values) for name, one in found.items()])


@api.get("/info", **described("catalogue", "See what the catalogue is and holds", Info))
async def info(request: Request, service: Serving) -> Info:
    """Return the catalogue's encoder, metrics, fields and size, and what the server takes."""
    return told(service, await service.answered(request, service.reading(service.catalog.info)))


@api.get(
    "/status",
    **described("operation", "See where the catalogue lies", CatalogStatus, 403, 503, who=may_write),
)
async def status(request: Request, service: Serving) -> CatalogStatus:
    """Return the nodes, shards and replicas of a catalogue on a server, and what is not as it should be."""

    def look() -> CatalogStatus:
        catalog = service.catalog
        server = catalog.backend.describe().get("server")
        if server is not None:
            server |= catalog.backend.status()
        return CatalogStatus(items=catalog.count(), server=server)

    return await service.answered(request, service.reading(look))


def _finds_regions(catalog: Catalog) -> bool:
    return region_head_of(catalog.manifest.card, catalog.manifest.weights_sha256) is not None


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
async def readyz(service: Serving) -> Status:
    """Answer when the catalogue is open and its encoder has been loaded and tried."""
    await service.ready()
    return Status()


@health.get(
    "/metrics",
    response_class=Response,
    **described("operation", "Measure it with Prometheus", None, answers=_METRICS, who=may_see),
)
async def metrics(service: Serving) -> Response:
    """Return request counts and latencies by route, encode and search times, the queue, and the size."""
    text = service.metrics.text(await service.reading(service.catalog.count))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def told(service: Service, about: dict[str, Any]) -> Info:
    """Return what is told of a catalogue and its server; `about` is what `Catalog.info` says."""
    return Info(
        **{name: value for name, value in about.items() if name != "path"},
        tuned=about["tuning"] is not None,
        version=serupa.__version__,
        newest=newest_field(about["fields"]),
        writable=service.gate.writable,
        explains=service.explains,
        regions=_finds_regions(service.catalog),
        notices_owned=service.notices_owned,
        limits=Limits(body_bytes=service.settings.limit_bytes, pixels=MAX_PIXELS, k=_LARGEST_K),
    )


def detail(catalog: Catalog, item_id: str) -> ItemDetail:
    """Return an item with the other photos of its product."""
    item = catalog.get(item_id)
    photos: list[Item] = []
    if item.product_id is not None:
        same = catalog.items({"product_id": item.product_id})
        photos = [one for one in islice(same, _PRODUCT_PHOTOS + 1) if one.id != item_id][:_PRODUCT_PHOTOS]
    others = [ItemOut.of(one) for one in sorted(photos, key=lambda one: one.id)]
    return ItemDetail(**ItemOut.of(item).model_dump(), photos=others)


@contextmanager
def photo_of(item_id: str) -> Iterator[None]:
    """Tell what is wrong with the photo of an item by the item's name: only the catalogue knows the file."""
    try:
        yield
    except SerupaError:
        detail = f"{item_id}: its photo is missing or cannot be read"
        raise ProblemError(404, detail, code="photo-missing") from None


def _has(header: str, etag: str) -> bool:
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in header.split(","))


def _facet(
    name: str, found: list[tuple[Scalar, int]] | tuple[float, float], most: int
) -> TextFacet | NumberFacet:
    if isinstance(found, tuple):
        return NumberFacet(name=name, min=found[0], max=found[1])
    counts = [ValueCount(value=value, count=count) for value, count in found[:most]]
    return TextFacet(name=name, values=counts, more=len(found) > most)
