"""What the API takes and returns."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from serupa.catalog.offers import Offer, offer_of
from serupa.catalog.query import TEXT_WEIGHT
from serupa.catalog.results import SearchResult
from serupa.catalog.words import Role
from serupa.explain import Explanation, Heat
from serupa.files.http import is_http
from serupa.items import Hit, Item, attribute_problem

MetricName = Literal["cosine", "euclidean", "manhattan"]
ByName = Literal["item", "product"]


def _storable(text: str) -> str:
    """Refuse what cannot be written as UTF-8 or as a part of an address."""
    if not text.isprintable() or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("must be printable text")
    return text


Identifier = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)]
K = Annotated[int, Field(ge=1, le=100, description="How many hits.")]
Sort = Annotated[
    Annotated[str, Field(min_length=1, max_length=200)] | None,
    Field(
        description="The order of what is alike: a field (`price` is what is to be paid), or `-field` for "
        "the largest first; nearest first unless given.",
        examples=["price"],
    ),
]
Offset = Annotated[int, Field(ge=0, le=10_000, description="How many of the nearest to pass over.")]
Metric = Annotated[
    MetricName | None,
    Field(description="One of the catalogue's metrics; its first unless given."),
]
By = Annotated[ByName, Field(description="Hits are items, or distinct products by their nearest photo.")]
Conditions = Annotated[
    list[Annotated[str, Field(max_length=1_000)]],
    Field(
        max_length=20,
        description=(
            "Filters, all of which must hold: `color=Black`, `color=Black|Blue`, `color!=Red`, "
            "`price=10..50`, `price>=10`."
        ),
        examples=[["category=Hats"]],
    ),
]
CropText = Annotated[
    Annotated[str, Field(max_length=200)] | None,
    Field(
        description="The part of the upright photo to use, in fractions of its sides: `x,y,w,h`.",
        examples=["0.1,0.2,0.5,0.6"],
    ),
]
Kind = Annotated[
    Annotated[str, Field(max_length=100)] | None,
    Field(
        description="The kind of garment to prefer; `any` compares the look alone. What the photo seems to "
        "show unless given.",
        examples=["shorts"],
    ),
]
Text = Annotated[
    Annotated[str, Field(min_length=1, max_length=500)] | None,
    Field(
        description="Words to search with, in English or Indonesian; beside a photo, such as `but red`.",
        examples=["red floral dress"],
    ),
]
TextWeight = Annotated[
    float, Field(ge=0, le=1, description="The share of the words in the ranking beside a photo.")
]
PhotoFile = Annotated[
    bytes,
    Field(
        description="JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF.",
        json_schema_extra={"type": "string", "format": "binary"},
    ),
]


class StrictModel(BaseModel):
    """What is sent: with nothing in it that is not known."""

    model_config = ConfigDict(extra="forbid")


class SearchForm(StrictModel):
    """A photo to search with, words, or both."""

    photo: PhotoFile | None = None
    text: Text = None
    text_weight: TextWeight = TEXT_WEIGHT
    k: K = 10
    metric: Metric = None
    by: By = "item"
    offset: Offset = 0
    crop: CropText = None
    kind: Kind = None
    sort: Sort = None
    where: Conditions = []


class RegionsForm(StrictModel):
    """A photo to find garments in."""

    photo: PhotoFile


class ExplainForm(StrictModel):
    """Two photos to compare: an item's, and a photo or another item's."""

    photo: PhotoFile | None = None
    from_id: Annotated[
        Identifier | None,
        Field(description="An item whose photo is the query, instead of `photo`."),
    ] = None
    item_id: Identifier
    crop: CropText = None
    metric: Metric = None


class ItemForm(StrictModel):
    """An item to add, or to replace if its id is there already."""

    photo: PhotoFile
    id: Identifier
    product_id: Identifier | None = None
    attributes: Annotated[
        str,
        Field(
            max_length=100_000,
            description="A JSON object of texts, numbers, truth values and lists of texts.",
            examples=['{"name": "Straw hat", "price": 29.5}'],
        ),
    ] = "{}"


def _web_address(address: str) -> str:
    if not is_http(address):
        raise ValueError("must be the address of a photo on the web: https://...")
    return address


class SyncedItem(StrictModel):
    """An item whose photo is on the web."""

    id: Identifier
    image: Annotated[str, Field(max_length=2_000), AfterValidator(_storable), AfterValidator(_web_address)]
    product_id: Identifier | None = None
    attributes: dict[str, Any] = {}

    @field_validator("attributes")
    @classmethod
    def _are_attributes(cls, attributes: dict[str, Any]) -> dict[str, Any]:
        return checked_attributes(attributes)


class SyncIn(StrictModel):
    """Single changes of a shop: what is new or changed, and what is gone."""

    items: Annotated[list[SyncedItem], Field(max_length=500)] = []
    removed: Annotated[list[Identifier], Field(max_length=500)] = []


class SyncFailure(BaseModel):
    """An item that could not be used, and why."""

    id: str
    reason: str


class SyncOut(BaseModel):
    """What came of changes."""

    added: int
    updated: int
    unchanged: int
    removed: int
    failed: list[SyncFailure]


class OfferOut(BaseModel):
    """What the shop asks for an item; null is what the catalogue does not say."""

    url: str | None = Field(description="The item's page in the shop.")
    price: float | None = Field(description="What is to be paid.")
    list_price: float | None = Field(description="What was to be paid before, where that was more.")
    currency: str | None = Field(description="ISO 4217 code.")
    brand: str | None
    in_stock: bool | None

    @classmethod
    def of(cls, offer: Offer) -> OfferOut:
        """Return the JSON form of an offer."""
        return cls(**asdict(offer))


class ItemOut(BaseModel):
    """An item of the catalogue."""

    id: str
    product_id: str | None
    name: str = Field(description="What people are to read: the name, else the product, else the id.")
    image: str = Field(description="Address of its photo; add `?size=` for its long side in pixels.")
    attributes: dict[str, str | int | float | bool | list[str]]
    offer: OfferOut

    @classmethod
    def of(cls, item: Item) -> ItemOut:
        """Return what is told of an item: its photo as an address, never as a path."""
        return cls(
            id=item.id,
            product_id=item.product_id,
            name=item.name,
            image=image_url(item.id),
            attributes=dict(item.attributes),
            offer=OfferOut.of(offer_of(item)),
        )


class ItemPage(BaseModel):
    """Some items of the catalogue, in an order that stays."""

    items: list[ItemOut]
    more: bool = Field(description="Whether there are items after these.")
    next: str | None = Field(description="What `after` is to be for the next page; null on the last one.")


class ItemDetail(ItemOut):
    """An item with the other photos of its product."""

    photos: list[ItemOut] = Field(description="Other items of the same product.")


class Timing(BaseModel):
    """Milliseconds of the steps of a search; those of the photo are null where there was none."""

    decode: float | None = None
    wait: float | None = Field(None, description="Waiting for a decoder and for the encoder.")
    encode: float | None = Field(None, description="Of the batch that the photo was in.")
    words: float | None = Field(None, description="Of understanding the text.")
    search: float


class HitOut(ItemOut):
    """An item that a search found."""

    rank: int = Field(description="1 for the nearest.")
    distance: float = Field(description="Smaller is nearer, in the units of the metric.")
    similarity: float = Field(
        description="Larger is nearer: 1 - distance for cosine, 1 / (1 + distance) for the others."
    )
    words: float | None = Field(
        None,
        description="How much of the text the item has, 0 to 1; null without a text. With words alone, this "
        "is the similarity, and the distance 1 less it.",
    )

    @classmethod
    def of_hit(cls, hit: Hit, **more: Any) -> Self:
        """Return what is told of a hit."""
        item = ItemOut.of(hit.item).model_dump()
        return cls(
            **item, rank=hit.rank, distance=hit.distance, similarity=hit.similarity, words=hit.words, **more
        )


class UnderstoodOut(BaseModel):
    """A piece of a text, and what it was taken for."""

    text: str = Field(description="The piece as it was written.")
    role: Role
    value: str = Field(description="The kind, the colour, or the word, corrected where it was misspelt.")
    found: bool = Field(description="Whether any item has it.")


class SearchOut(BaseModel):
    """Hits, nearest first or in the order that was asked for; equal distances are ordered by id."""

    metric: MetricName
    encoder: str
    timing_ms: Timing
    kind: str | None = Field(
        None, description="The kind of garment that the photo seems to show; null: unknown."
    )
    kind_probability: float | None = Field(None, description="The chance of the likeliest kind.")
    close: bool | None = Field(
        None, description="Whether the first hit is likely of that kind and looks alike; null: nobody knows."
    )
    understood: list[UnderstoodOut] = Field(
        [], description="What the text was taken for, piece by piece, in its order."
    )
    hits: list[HitOut]
    offset: int
    more: bool = Field(description="Whether there are hits after these.")
    search: str | None = Field(
        default=None, description="What clicks and purchases are told with; null where no events are kept."
    )

    @classmethod
    def of(cls, result: SearchResult, k: int, offset: int) -> SearchOut:
        """Return the first k of a result that was asked for k + 1."""
        hits = [HitOut.of_hit(hit) for hit in result.hits[:k]]
        timing = Timing(**{name: round(ms, 2) for name, ms in result.timing_ms.items()})
        return cls(
            metric=result.metric,
            encoder=result.encoder,
            timing_ms=timing,
            kind=None if result.kind is None else result.kind.name,
            kind_probability=None if result.kind is None else round(result.kind.probability, 4),
            close=result.close,
            understood=[UnderstoodOut(**one.to_dict()) for one in result.understood],
            hits=hits,
            offset=offset,
            more=len(result.hits) > k,
        )


class ClickIn(StrictModel):
    """A result that was followed: to its page here, or to the shop."""

    search: Annotated[str, Field(max_length=40, description="The `search` of the answer that showed it.")]
    item: Identifier
    to: Literal["item", "shop"] = "item"


class PurchaseIn(StrictModel):
    """An item that was bought, and of which search, where the shop knows."""

    item: Identifier
    search: Annotated[str, Field(max_length=40)] | None = None


class ValueCount(BaseModel):
    """A value of a field, and how many items or products have it."""

    value: str | int | float | bool
    count: int


class TextFacet(BaseModel):
    """The values of a text field, most frequent first."""

    name: str
    kind: Literal["text"] = "text"
    values: list[ValueCount]
    more: bool = Field(description="Whether there are values beside these.")


class NumberFacet(BaseModel):
    """The bounds of a number field."""

    name: str
    kind: Literal["number"] = "number"
    min: float
    max: float


class Facets(BaseModel):
    """What there is to filter by."""

    fields: list[Annotated[TextFacet | NumberFacet, Field(discriminator="kind")]]


class HeatOut(BaseModel):
    """What each cell of one photo contributes."""

    rows: int
    columns: int
    cells: list[list[float]] = Field(description="Row by row from the top left.")
    box: tuple[float, float, float, float] = Field(
        description=(
            "The part of the upright photo that the cells cover, x, y, w, h in fractions of its sides; it "
            "reaches beyond the photo (below 0, above 1) where the encoder saw a margin."
        )
    )

    @classmethod
    def of(cls, heat: Heat) -> HeatOut:
        """Return the JSON form of a map."""
        rows, columns = heat.cells.shape
        return cls(rows=rows, columns=columns, cells=heat.cells.tolist(), box=heat.box)


class ExplainOut(BaseModel):
    """Which regions make two photos alike."""

    metric: MetricName
    what: Literal["similarity", "distance"] = Field(
        description=(
            "What the cells of each photo add up to: for cosine the similarity (a large cell makes the "
            "photos alike), else the distance (a small or negative cell does)."
        )
    )
    similarity: float
    distance: float
    query: HeatOut
    item: HeatOut

    @classmethod
    def of(cls, explanation: Explanation) -> ExplainOut:
        """Return the JSON form of an explanation."""
        return cls(
            metric=explanation.metric,
            what=explanation.what,
            similarity=explanation.similarity,
            distance=explanation.distance,
            query=HeatOut.of(explanation.query),
            item=HeatOut.of(explanation.item),
        )


class RegionOut(BaseModel):
    """A garment in a photo."""

    part: Literal["upper", "lower", "whole", "feet"] = Field(description="Where it is worn.")
    kind: str | None = Field(description="What it seems to be; null: unknown.")
    kind_probability: float = Field(description="The chance of the likeliest kind, of those worn there.")
    score: float = Field(description="How surely it is there, 0 to 1.")
    box: tuple[float, float, float, float] = Field(
        description="x, y, width, height in fractions of the upright photo; a search takes it as `crop`."
    )


class RegionsOut(BaseModel):
    """The garments in a photo, what shows most first."""

    regions: list[RegionOut]


class Limits(BaseModel):
    """What the server takes."""

    body_bytes: int = Field(description="Largest request.")
    pixels: int = Field(description="Largest photo, width times height.")
    k: int = Field(description="Most hits of one search.")


class Info(BaseModel):
    """What the catalogue is and holds, and what the server allows."""

    items: int
    products: int
    encoder: str
    dimension: int
    input_size: int
    resize: Literal["crop", "squash", "pad"]
    metrics: list[MetricName]
    words: bool = Field(description="Whether its items can be found by words.")
    tuned: bool = Field(description="Whether the search has learned from the catalogue's own products.")
    fields: dict[str, Literal["text", "number", "words"]]
    newest: str | None = Field(description="The field that says when items came; `-` before it sorts by it.")
    indexed_vectors: int
    size_bytes: int | None = Field(description="None of a catalogue on a server.")
    created: str
    serupa: str = Field(description="The version that made the catalogue.")
    version: str = Field(description="The version that serves it.")
    writable: bool = Field(description="Whether items can be added and removed, with the API key.")
    explains: bool = Field(description="Whether the encoder can say which regions are alike.")
    regions: bool = Field(description="Whether the encoder can find the garments in a photo of a person.")
    notices_owned: bool | None = Field(
        description="Whether enough of what somebody owns is noticed to ask for it; null where nothing tells."
    )
    limits: Limits


class ReplicaOut(BaseModel):
    """A copy of a shard on a node."""

    node: str
    state: str = Field(description="Active, or as Qdrant names it.")
    points: int | None = Field(description="Roughly; None where the node was not asked.")


class ShardOut(BaseModel):
    """A piece of a catalogue on a server."""

    shard: int
    replicas: list[ReplicaOut]


class TransferOut(BaseModel):
    """A shard on its way from one node to another."""

    shard: int
    source: str
    target: str
    moves: bool = Field(description="Whether it leaves the source, or is copied.")
    done: float | None = Field(description="Share of the points that is there, 0 to 1.")


class NodeOut(BaseModel):
    """A node of the cluster."""

    id: str
    address: str


class ServerOut(BaseModel):
    """How a server keeps a catalogue."""

    collection: str
    status: str = Field(description="green, yellow while it optimises, grey, or red.")
    shards: int | None
    replicas: int
    write_consistency: int
    quantization: str
    on_disk: bool
    nodes: list[NodeOut]
    placement: list[ShardOut]
    transfers: list[TransferOut]
    deviations: list[str] = Field(description="What is not as it should be, in words.")


class CatalogStatus(BaseModel):
    """How much a catalogue holds, and where it lies."""

    items: int
    server: ServerOut | None = Field(description="None of a catalogue in a directory.")


class Status(BaseModel):
    """Whether the server is well."""

    status: Literal["ok"] = "ok"


class FieldError(BaseModel):
    """What is wrong with a field."""

    field: str
    message: str


class ProblemOut(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str = Field(description="For people: what is wrong and what to do.")
    code: str = Field(description="For programs.")
    errors: list[FieldError] | None = None


def image_url(item_id: str) -> str:
    """Return the address of an item's photo."""
    return f"/api/v1/items/{quote(item_id, safe='')}/image"


def read_attributes(text: str) -> dict[str, Any]:
    """Read an item's attributes from JSON.

    Raises
    ------
    ValueError
        If they are not what an item can have.
    """
    try:
        attributes = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("must be JSON") from None
    if not isinstance(attributes, dict):
        raise ValueError('must be a JSON object such as {"name": "Straw hat"}')
    return checked_attributes(attributes)


def checked_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes.

    Raises
    ------
    ValueError
        If they are not what an item can have.
    """
    for name, value in attributes.items():
        if problem := attribute_problem(name, value):
            raise ValueError(problem)
    return attributes
