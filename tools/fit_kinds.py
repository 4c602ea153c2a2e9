"""Learns the head that tells kinds of garment (`serupa.garments.head`) for one encoder, and judges it.

    python -m tools.fit_kinds --flat FOLDER_OR_TABLE ... --worn TABLE ... [--encoder NAME_OR_CARD] [-o FILE]

``--flat`` are photos that people took of their own clothes, ``--worn`` those of shops, a source each; the
``category`` of an item says its kind. The head is softmax regression on the embedding. A shop sells few
kinds, so the softmax of its photos runs over the kinds that it has: otherwise the head learns which shop a
photo is of. Photos of the two worlds weigh as `_WORN` says, kinds within a world by the square root of
their number.

What it is worth is measured on photos that were not learned from: five folds of the first flat source, and
each shop left out. The temperatures come from the same photos. Written to FILE, by default where Serupa looks
for it: beside the model of an encoder of one's own, else in the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serupa.encoders import Encoder, load_encoder
from serupa.evaluation.intervals import wilson_interval
from serupa.garments import head as heads
from serupa.garments.head import KindHead
from serupa.garments.kinds import NAMES, judged_as, kinds_of
from serupa.images import open_photo
from serupa.items import Item
from serupa.sources import read_source
from serupa.vectors import unit
from tools.amateur_like import amateur_like, cut_out

Rows = NDArray[np.float32]
Flags = NDArray[np.bool_]

SHARE = 0.4
"""The share of the kind in a similarity: chosen on both shops, see docs/garments.md."""

_FEWEST = 20  # photos that a kind must have to be learned
_DIRECTIONS = 384  # principal directions that the regression sees
_RIDGE = 3e-3
_WORN = 0.2  # weight of the shops' photos beside the others
_TAKEN_FOR_WORN = 0.02  # people's photos: a worn photo that is taken for flat costs more than the reverse
_FOLDS = 5
_BACKGROUNDS = 60  # flat photos whose backgrounds are borrowed
_SHRINK = 20  # photos' worth of trust in the mean of all kinds beside the mean of one
_SIDE = 272  # short side of the photos that are cut out


@dataclass(frozen=True)
class Photos:
    """What is learned from: embeddings of length 1 ``(n, d)`` and what is known of each."""

    rows: Rows
    source: NDArray[np.int64]
    worn: Flags
    truth: Flags  # (n, K): the kinds that its category leaves
    made: Flags  # composites: their world is learned, not their kind

    def of(self, chosen: Flags) -> Photos:
        """Return some of the photos."""
        return Photos(
            self.rows[chosen], self.source[chosen], self.worn[chosen], self.truth[chosen], self.made[chosen]
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn, measure, write."""
    given = _parse(arguments)
    encoder = load_encoder(given.encoder, threads=given.threads)
    items = [readable(source) for source in (*given.flat, *given.worn)]
    flat = len(given.flat)
    kinds = learnable(items)
    photos = embed(encoder, items, flat, kinds)
    lines, temperatures = _measured(photos, kinds, flat)
    head = fit(photos, kinds, temperatures)
    print("\n".join(lines))
    file = given.output or _default_file(encoder)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(head.to_bytes())
    print(f"\nWrote {file}: {len(kinds)} kinds, {file.stat().st_size / 1000:.0f} kB")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--flat", nargs="+", required=True, help="photos that people took; the first is judged"
    )
    parser.add_argument("--worn", nargs="+", required=True, help="one table or folder a shop")
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args(arguments)


def _default_file(encoder: Encoder) -> Path:
    weights = encoder.card.weights
    if weights.repo is None and weights.package is None:
        return Path(weights.file + ".kinds.npz")
    return Path(heads.__file__).with_name("heads") / f"{encoder.weights_sha256[:16]}.npz"


def _named(item: Item) -> frozenset[str]:
    # "Longsleeve/tops" and the like: a folder's category is a path, a table's a word
    return kinds_of(str(item.attributes.get("category") or ""), str(item.attributes.get("name") or ""))


def readable(source: str) -> list[Item]:
    """Return the items of a source, without the rows that cannot be used."""
    return [entry for entry in read_source(source) if isinstance(entry, Item)]


def learnable(items: list[list[Item]]) -> tuple[str, ...]:
    """Return the kinds that enough photos name on their own, as one of them or by what looks like it."""
    counts = dict.fromkeys(NAMES, 0)
    for item in (item for source in items for item in source):
        named = _named(item)
        if len(named) == 1:
            counts[next(iter(named))] += 1
    known = tuple(name for name in NAMES if counts[name] >= _FEWEST)
    # a kind that a photo can hardly tell from another one that is known is learned as that one
    return tuple(name for name in known if judged_as(name, tuple(k for k in known if k != name)) is None)


def embed(encoder: Encoder, items: list[list[Item]], flat: int, kinds: tuple[str, ...]) -> Photos:
    """Embed the photos of sources, the first ``flat`` of which are people's, and composites of the others.

    Items whose category names none of the kinds are left out; the rest keep their order.
    """
    rng = np.random.default_rng(0)
    parts: list[tuple[Rows, int, bool, Flags, bool]] = []
    grounds = [cut for item in items[0][:: max(1, len(items[0]) // _BACKGROUNDS)] if (cut := _cut(item))]
    for number, source in enumerate(items):
        truths = [
            np.array([k in {judged_as(n, kinds) for n in _named(item)} for k in kinds]) for item in source
        ]
        known = [(item, truth) for item, truth in zip(source, truths, strict=True) if truth.any()]
        pixels = (encoder.preprocess(item.image) for item, _ in known)
        rows = _embedded(encoder, pixels)
        parts += [
            (row, number, number >= flat, truth, False) for row, (_, truth) in zip(rows, known, strict=True)
        ]
        if number >= flat:
            cuts = [(cut, truth) for item, truth in known if (cut := _cut(item))]
            side = encoder.input_size
            made = _embedded(encoder, (amateur_like(*cut, grounds, side, rng) for cut, _ in cuts))
            parts += [(row, number, True, truth, True) for row, (_, truth) in zip(made, cuts, strict=True)]
    return Photos(
        rows=unit(np.stack([part[0] for part in parts])),
        source=np.array([part[1] for part in parts]),
        worn=np.array([part[2] for part in parts]),
        truth=np.stack([part[3] for part in parts]),
        made=np.array([part[4] for part in parts]),
    )


def _cut(item: Item) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    photo = open_photo(item.image, min_side=2 * _SIDE)
    scale = _SIDE / min(photo.size)
    size = (max(_SIDE, round(photo.width * scale)), max(_SIDE, round(photo.height * scale)))
    pixels = np.asarray(photo.resize(size, Image.Resampling.BOX))
    mask = cut_out(pixels)
    return None if mask is None else (pixels, mask)


def _embedded(encoder: Encoder, pixels: Iterator[NDArray[np.uint8]]) -> Rows:
    rows: list[Rows] = []
    batch: list[NDArray[np.uint8]] = []
    for one in pixels:
        batch.append(one)
        if len(batch) == 32:
            rows.append(encoder.encode(np.stack(batch)))
            batch = []
    if batch:
        rows.append(encoder.encode(np.stack(batch)))
    return np.concatenate(rows)


def _measured(photos: Photos, kinds: tuple[str, ...], flat: int) -> tuple[list[str], NDArray[np.float32]]:
    """Judge photos that were not learned from; return Markdown and the temperatures of both worlds."""
    first = (photos.source == 0).nonzero()[0]
    deal = np.full(len(photos.rows), -1)
    deal[np.random.default_rng(0).permutation(first)] = np.arange(len(first)) % _FOLDS
    even = np.ones(2, np.float32)
    scores = np.full(photos.truth.shape, np.nan, np.float32)
    for fold in range(_FOLDS):
        head = fit(photos.of(deal != fold), kinds, even)
        scores[deal == fold] = _scores(head, photos.rows[deal == fold])
    shops = [number for number in np.unique(photos.source) if number >= flat]
    worlds = np.full(len(photos.rows), np.nan)
    for shop in shops:
        chosen = photos.source == shop
        head = fit(photos.of(~chosen), kinds, even)
        scores[chosen], worlds[chosen] = _scores(head, photos.rows[chosen]), head.flat(photos.rows[chosen])
        if shop == shops[0]:
            worlds[deal == 0] = fit(photos.of(deal != 0), kinds, even).flat(photos.rows[deal == 0])
    judged = {"flat": deal >= 0, "worn": photos.worn & ~photos.made}
    temperatures = np.array([_temperature(scores[c], photos.truth[c]) for c in judged.values()], np.float32)
    lines = [
        "| photos that were not learned from | right | of those 90 % sure | share of them |",
        "| --- | --- | --- | --- |",
    ]
    rows = [("people's own, five folds", judged["flat"], temperatures[0])]
    rows += [
        (f"shop {n + 1} left out", judged["worn"] & (photos.source == s), temperatures[1])
        for n, s in enumerate(shops)
    ]
    for name, chosen, temperature in rows:
        chances = _softmax(temperature * scores[chosen])
        right = photos.truth[chosen][np.arange(len(chances)), chances.argmax(axis=1)]
        sure = chances.max(axis=1) >= 0.9
        lines.append(f"| {name} | {_share(right)} | {_share(right[sure])} | {sure.mean():.2f} |")
    lines.append("")
    for name, chosen in (
        ("people's own", deal == 0),
        ("shops left out", judged["worn"]),
        ("shops left out, on other backgrounds", photos.made),
    ):
        lines.append(f"- {name}: taken for flat {_share(worlds[chosen] > 0.5)}")
    lines.append(f"- inverse temperatures: flat {temperatures[0]:.2f}, worn {temperatures[1]:.2f}")
    return lines, temperatures


def _share(right: NDArray[np.bool_]) -> str:
    if not len(right):
        return "none"
    low, high = wilson_interval(float(right.mean()), len(right))
    return f"{right.mean():.3f} ({low:.3f} to {high:.3f}) of {len(right)}"


def _scores(head: KindHead, rows: Rows) -> Rows:
    return np.asarray(rows @ head.weight.T + head.bias, np.float32)


def _temperature(scores: Rows, truth: Flags) -> float:
    """Return the inverse temperature of the largest likelihood."""
    tried = np.geomspace(0.1, 4.0, 60)
    losses = [-np.log((_softmax(t * scores) * truth).sum(axis=1) + 1e-9).mean() for t in tried]
    return float(tried[int(np.argmin(losses))])


def fit(photos: Photos, kinds: tuple[str, ...], temperatures: NDArray[np.float32]) -> KindHead:
    """Learn a head."""
    real = photos.of(~photos.made)
    mean = real.rows.mean(axis=0)
    centred = real.rows - mean
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :_DIRECTIONS]
    scale = 1 / float((centred @ axes).std())
    axes = axes * scale
    has = {s: real.truth[real.source == s].any(axis=0) for s in np.unique(real.source)}
    present = np.stack([has[s] for s in real.source])
    people = real.truth[~real.worn].any(axis=0)
    present[~real.worn] = people
    weight, bias = _regression(centred @ axes, real.truth, present, _weights(real))
    seen = (photos.rows - mean) @ axes
    sides = np.stack([~photos.worn, photos.worn], axis=1)
    world = np.where(photos.worn, 1 / photos.worn.sum(), 1 / (~photos.worn).sum())
    which, offset = _regression(seen, sides, np.ones_like(sides), world / world.sum())
    scores = seen[~photos.worn] @ which.T + offset
    offset[0] -= np.quantile(scores[:, 0] - scores[:, 1], _TAKEN_FOR_WORN)
    rows = real.rows[~real.worn]
    sure = real.truth[~real.worn] & (real.truth[~real.worn].sum(axis=1, keepdims=True) == 1)
    middle = rows.mean(axis=0)
    centres = (sure.T.astype(np.float32) @ rows + _SHRINK * middle) / (sure.sum(axis=0)[:, None] + _SHRINK)
    return KindHead(
        kinds,
        weight=np.asarray(weight @ axes.T, np.float32),
        bias=np.asarray(bias - weight @ (axes.T @ mean), np.float32),
        world_weight=np.asarray(which @ axes.T, np.float32),
        world_bias=np.asarray(offset - which @ (axes.T @ mean), np.float32),
        temperatures=temperatures,
        centres=np.asarray(centres, np.float32),
        share=SHARE,
    )


def _weights(photos: Photos) -> NDArray[np.float64]:
    weights = np.zeros(len(photos.rows))
    for worn, total in ((False, 1 - _WORN), (True, _WORN)):
        chosen = photos.worn == worn
        if chosen.any():
            _, which, counts = np.unique(
                photos.truth[chosen], axis=0, return_inverse=True, return_counts=True
            )
            own = 1 / np.sqrt(counts[which.ravel()])
            weights[chosen] = total * own / own.sum()
    return np.asarray(weights / weights.sum())


def _regression(
    rows: NDArray[np.floating], truth: Flags, present: Flags, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Softmax regression: maximise the chance of what is true among what is present, with a ridge."""
    from scipy.optimize import minimize

    x = rows.astype(np.float64)
    shape = (truth.shape[1], x.shape[1] + 1)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = flat.reshape(shape)
        scores = x @ both[:, :-1].T + both[:, -1]
        every = _softmax(np.where(present, scores, -60.0))
        right = np.where(truth, every, 0.0)
        chance = right.sum(axis=1) + 1e-12
        slope = weights[:, None] * (every - right / chance[:, None])
        gradient = np.concatenate(
            [slope.T @ x + 2 * _RIDGE * both[:, :-1], slope.sum(axis=0)[:, None]], axis=1
        )
        value = -(weights * np.log(chance)).sum() + _RIDGE * (both[:, :-1] ** 2).sum()
        return float(value), gradient.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 150})
    both = found.x.reshape(shape)
    return np.asarray(both[:, :-1]), np.asarray(both[:, -1])


def _softmax(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    raised = np.exp((scores - scores.max(axis=1, keepdims=True)).astype(np.float64))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float64)


if __name__ == "__main__":
    main()
