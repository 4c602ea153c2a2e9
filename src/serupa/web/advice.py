"""The REST API's advice: recommendations, and what goes with what somebody owns.

Tastes and wardrobes are the person's own: they come with a request, serve it, and are gone with it.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from serupa.catalog.results import Recommendation
from serupa.garments.colors import NAMES, NEUTRAL, Color
from serupa.garments.head import head_of
from serupa.garments.slots import Slot, slot_of
from serupa.recommend.tastes import Taste
from serupa.styling.outfits import Outfit, outfits_around
from serupa.styling.pieces import Piece
from serupa.vectors import unit
from serupa.web.forms import read_form
from serupa.web.problems import ProblemError, refused
from serupa.web.routing import Serving, described
from serupa.web.schemas import (
    Conditions,
    HitOut,
    Identifier,
    K,
    Metric,
    MetricName,
    Offset,
    PhotoFile,
    StrictModel,
    image_url,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serupa.web.service import Advice

advice = APIRouter(prefix="/api/v1")

MOST_PIECES = 200
_TEXT = 1_000_000

TasteText = Annotated[
    str,
    Field(
        max_length=_TEXT,
        description=(
            "What somebody likes and dislikes, as JSON: `likes` and `dislikes`, lists of objects with the "
            "`id` of an item and `at`, a time (ISO 8601). Old likes count less. It is not stored."
        ),
        examples=['{"likes": [{"id": "photos/HAT-01_hanger.jpg", "at": "2026-08-01T12:00:00Z"}]}'],
    ),
]
WardrobeText = Annotated[
    str,
    Field(
        max_length=_TEXT,
        description=(
            "What somebody owns, as a JSON list of objects with `id`, `name`, `category`, `colors` and "
            "`signature`, as `/garment` gave them. It is not stored."
        ),
        examples=["[]"],
    ),
]


class RecommendForm(StrictModel):
    """What somebody likes; all of it may be left out."""

    taste: TasteText = "{}"
    k: K = 12
    offset: Offset = 0
    diversity: Annotated[
        float, Field(ge=0, le=1, description="0 for the nearest, up to 1 for what is unlike the hits before.")
    ] = 0.0
    metric: Metric = None
    where: Conditions = Field(default_factory=list)


class RecommendedOut(HitOut):
    """A product that is recommended."""

    because: str | None = Field(description="The liked item that it is near to; null where nothing is liked.")


class RecommendOut(BaseModel):
    """Products that somebody may like, best first; none of them is liked already."""

    metric: MetricName
    encoder: str
    timing_ms: dict[str, float]
    hits: list[RecommendedOut]
    offset: int
    more: bool
    groups: list[list[str]] = Field(description="The liked items that belong together.")
    unknown: list[str] = Field(description="Ids that the catalogue does not have (any more).")


class GarmentForm(StrictModel):
    """A photo of one garment."""

    photo: PhotoFile


class ColorOut(BaseModel):
    """A colour of a garment: its name, its share, and where it lies in Oklab."""

    name: Literal[NAMES]  # type: ignore[valid-type]
    share: Annotated[float, Field(ge=0, le=1)]
    rgb: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
    lightness: Annotated[float, Field(ge=-1, le=2)]
    chroma: Annotated[float, Field(ge=0, le=2)]
    hue: Annotated[float, Field(ge=0, le=360)]


class GarmentOut(BaseModel):
    """What a photo shows, guessed from the catalogue's items."""

    category: str | None = Field(description="One of the shop's; null where nobody knows.")
    confidence: float
    kind: str | None = Field(
        description="The kind of garment, in the shop or not; null: unknown or not told by the encoder"
    )
    kind_probability: float | None = Field(description="The chance of the likeliest kind.")
    pattern: str | None
    slot: Slot | None
    colors: list[ColorOut]
    signature: str = Field(description="What the garment is compared by; 16-bit floats, base64.")


class OwnForm(StrictModel):
    """Something for sale, and what is owned: `photo` or `item_id`, and `wardrobe`."""

    photo: PhotoFile | None = None
    item_id: Identifier | None = None
    wardrobe: WardrobeText = "[]"


class OwnedOut(BaseModel):
    """A piece that is like it."""

    id: str
    similarity: float
    probability: float | None = Field(description="That it is the same product; null where nobody taught it.")


class OwnOut(BaseModel):
    """Whether it is owned."""

    verdict: Literal["owned", "similar", "new", "unknown"]
    matches: list[OwnedOut] = Field(description="The closest first, at most 5.")
    precision: float | None = Field(
        description="Of what was called owned, the share that was, on products of this catalogue."
    )


class OutfitForm(StrictModel):
    """A piece of the wardrobe or an item of the catalogue, and what may go with it."""

    piece: Identifier
    wardrobe: WardrobeText = "[]"
    shop: Annotated[bool, Field(description="Whether the catalogue may add something.")] = True
    where: Conditions = Field(default_factory=list)
    k: Annotated[int, Field(ge=1, le=10, description="How many outfits.")] = 3


class PartOut(BaseModel):
    """A garment of an outfit."""

    id: str
    name: str
    slot: Slot | None
    color: str | None
    owned: bool
    image: str | None = Field(description="Address of its photo; null where it is owned: you have it.")


class ReasonOut(BaseModel):
    """Why two garments of an outfit are in it."""

    code: str
    text: str
    pieces: list[str]
    colors: list[str]


class OutfitOut(BaseModel):
    """A whole outfit."""

    score: float
    parts: list[PartOut]
    reasons: list[ReasonOut]


class OutfitsOut(BaseModel):
    """Outfits around a piece, those that need the least from the shop first."""

    outfits: list[OutfitOut]


class PieceIn(StrictModel):
    """A piece that is owned."""

    id: Identifier
    name: Annotated[str, Field(max_length=500)] = ""
    category: Annotated[str, Field(max_length=100)] | None = None
    pattern: Annotated[str, Field(max_length=100)] | None = None
    colors: Annotated[list[ColorOut], Field(max_length=13)] = Field(default_factory=list)
    signature: Annotated[str, Field(max_length=40_000)]

    def read(self, dimension: int) -> Piece:
        """Return the piece.

        Raises
        ------
        ProblemError
            If its signature is of another encoder.
        """
        try:
            data = base64.b64decode(self.signature, validate=True)
            embedding = np.frombuffer(data, "<f2").astype(np.float32)
        except (binascii.Error, ValueError):
            embedding = np.empty(0, np.float32)
        if embedding.shape != (dimension,) or not np.isfinite(embedding).all():
            problem = f"the signature of {self.id} is not of this catalogue; add its photo again"
            raise refused("wardrobe", problem)
        colors = tuple(Color(**color.model_dump()) for color in self.colors)
        return Piece(self.id, self.name, "", self.category, self.pattern, colors, embedding, owned=True)


class _Wardrobe(BaseModel):
    pieces: Annotated[list[PieceIn], Field(max_length=MOST_PIECES)]


@advice.post(
    "/recommend",
    **described("advice", "Recommend products from likes and dislikes", RecommendOut, form=RecommendForm),
)
async def recommend(request: Request, service: Serving) -> RecommendOut:
    """Send what somebody likes, get products like it; without likes, a varied sample. Nothing is stored."""
    form = await read_form(request, RecommendForm)
    taste = Taste.from_dict(_json("taste", form.taste, dict))

    def work() -> RecommendOut:
        examples = taste.examples(service.catalog)
        result = service.catalog.recommend(
            examples.likes,
            examples.dislikes,
            form.k + 1,
            offset=form.offset,
            diversity=form.diversity,
            metric=form.metric,
            where=form.where,
        )
        likes = [one.item_id or "" for one in examples.likes]
        return _recommended(result, likes, form, list(examples.unknown))

    return await service.answered(request, service.reading(work))


@advice.post("/garment", **described("advice", "Say what a photo shows", GarmentOut, form=GarmentForm))
async def garment(request: Request, service: Serving) -> GarmentOut:
    """Send a photo of a garment; get its category, its colours, and what it is compared by."""
    form = await read_form(request, GarmentForm)

    async def work() -> GarmentOut:
        encoded = await service.pool.encode(form.photo, None)

        advice = await service.advice()

        def look() -> GarmentOut:
            shown = advice.advisor.look(form.photo, encoded.embedding)
            category = shown.category.value
            manifest = service.catalog.manifest
            head = head_of(manifest.card, manifest.weights_sha256)
            kind = None if head is None else head.guess(encoded.embedding)
            return GarmentOut(
                category=category,
                confidence=shown.category.confidence,
                kind=None if kind is None else kind.name,
                kind_probability=None if kind is None else round(kind.probability, 4),
                pattern=shown.pattern.value,
                slot=slot_of(category),
                colors=[ColorOut(**color.to_dict()) for color in shown.colors],
                signature=_signature(encoded.embedding),
            )

        return await service.reading(look)

    return await service.answered(request, work())


@advice.post(
    "/own", **described("advice", "Ask whether something is owned already", OwnOut, 404, form=OwnForm)
)
async def own(request: Request, service: Serving) -> OwnOut:
    """Compare a photo, or an item of the catalogue, with what somebody owns. Nothing is stored."""
    form = await read_form(request, OwnForm)
    if (form.photo is None) == (form.item_id is None):
        raise ProblemError(422, "send either photo or item_id")
    pieces = _pieces(form.wardrobe, service.catalog.manifest.card.dimension)

    async def work() -> OwnOut:
        photo = None if form.photo is None else (await service.pool.encode(form.photo, None)).embedding

        advisor = (await service.advice()).advisor

        def compare() -> OwnOut:
            asked = photo if photo is not None else service.catalog.embeddings([str(form.item_id)])[1][0]
            answer = advisor.own(asked, pieces)
            check = advisor.ownership.check if advisor.ownership else None
            matches = [
                OwnedOut(id=one.piece.id, similarity=one.similarity, probability=one.probability)
                for one in answer.matches
            ]
            precision = check.precision if check else None
            return OwnOut(verdict=answer.verdict, matches=matches, precision=precision)

        return await service.reading(compare)

    return await service.answered(request, work())


@advice.post("/outfits", **described("advice", "Complete an outfit", OutfitsOut, 404, form=OutfitForm))
async def outfits(request: Request, service: Serving) -> OutfitsOut:
    """Propose outfits around a piece that is owned or sold, owned garments first. Nothing is stored."""
    form = await read_form(request, OutfitForm)
    pieces = _pieces(form.wardrobe, service.catalog.manifest.card.dimension)

    async def work() -> OutfitsOut:
        advice = await service.advice()
        return await service.fetching(lambda: propose(advice))

    def propose(advice: Advice) -> OutfitsOut:
        _, proposed = outfits_around(
            form.piece,
            pieces,
            advice.shopfront,
            buy=form.shop,
            where=form.where,
            compatibility=advice.advisor.compatibility,
            k=form.k,
        )
        return OutfitsOut(outfits=[_outfit(one) for one in proposed])

    return await service.answered(request, work())


def _recommended(
    result: Recommendation, likes: list[str], form: RecommendForm, unknown: list[str]
) -> RecommendOut:
    pairs = list(zip(result.hits, result.because, strict=True))
    return RecommendOut(
        metric=result.metric,
        encoder=result.encoder,
        timing_ms={name: round(ms, 2) for name, ms in result.timing_ms.items()},
        hits=[
            RecommendedOut.of_hit(hit, because=None if like is None else likes[like])
            for hit, like in pairs[: form.k]
        ],
        offset=form.offset,
        more=len(pairs) > form.k,
        groups=[[likes[n] for n in group.likes] for group in result.groups],
        unknown=unknown,
    )


def _outfit(outfit: Outfit) -> OutfitOut:
    by_id = {piece.id: piece for piece in outfit.pieces}
    parts = [
        PartOut(
            id=piece.id,
            name=piece.name,
            slot=piece.slot,
            color=piece.color,
            owned=piece.owned,
            image=None if piece.owned else image_url(piece.id),
        )
        for piece in outfit.pieces
    ]
    reasons = [
        ReasonOut(
            code=reason.code,
            text=reason.text,
            pieces=list(reason.pieces),
            colors=[
                color
                for one in reason.pieces
                if (color := by_id[one].color) and (reason.code != "neutral" or color in NEUTRAL)
            ],
        )
        for reason in outfit.reasons
    ]
    return OutfitOut(score=outfit.score, parts=parts, reasons=reasons)


def _pieces(text: str, dimension: int) -> list[Piece]:
    """Read a wardrobe.

    Raises
    ------
    ProblemError
        If it is none, or its signatures are another encoder's.
    """
    try:
        return [piece.read(dimension) for piece in _Wardrobe(pieces=_json("wardrobe", text, list)).pieces]
    except ValueError:
        raise refused("wardrobe", "must be a list of pieces, as /garment describes them") from None


def _json(field: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise refused(field, "must be JSON") from None
    if not isinstance(value, kind):
        raise refused(field, f"must be a JSON {'object' if kind is dict else 'list'}")
    return value


def _signature(embedding: NDArray[np.float32]) -> str:
    return base64.b64encode(unit(embedding).astype("<f2").tobytes()).decode("ascii")
