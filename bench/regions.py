"""How well garments are found in photos of people in the street, beside a box that never looks at the photo.

    python -m bench.regions STREET_DIR [--encoder NAME_OR_CARD] [--every N]

STREET_DIR has ``masks.csv`` (image, mask) and ``labels.csv`` (id, label). A garment is found where its box
and that of the mask overlap by half (intersection over union). Each photo is asked as it is, and cropped at
random (30 to 100 % of its area, at least 70 % of what is labelled kept). The fixed box is the median of the
other photos' boxes. Prints Markdown: shares with Wilson's intervals, differences with a bootstrap,
95 %.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from bench.shopper import difference, share
from serupa.encoders import load_encoder
from serupa.garments.regions import find_regions

PARTS = {
    "upper body": (
        {"upper"},
        "blazer blouse bodysuit bra cape cardigan coat hoodie jacket jumper shirt sweater sweatshirt t-shirt "
        "top vest",
    ),
    "lower or whole body": ({"lower", "whole"}, "jeans leggings pants shorts skirt dress romper"),
    "shoes": ({"feet"}, "boots clogs flats heels loafers pumps sandals shoes sneakers wedges"),
}


def box_of(mask: np.ndarray) -> np.ndarray | None:
    """Left, top, right, bottom in fractions; None where next to nothing is labelled."""
    if mask.sum() <= 30:
        return None
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    return np.array([xs[0] / width, ys[0] / height, (xs[-1] + 1) / width, (ys[-1] + 1) / height])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    inner = float(np.prod(np.maximum(sides, 0)))
    return inner / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inner)


def random_crop(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int, int]:
    height, width = mask.shape
    for _ in range(500):
        area, aspect = rng.uniform(0.3, 1) * height * width, math.exp(rng.uniform(-0.4, 0.4)) * width / height
        w = min(width, math.sqrt(area * aspect))
        h = min(height, area / w)
        x, y, w, h = int(rng.uniform(0, width - w + 1)), int(rng.uniform(0, height - h + 1)), int(w), int(h)
        if (mask[y : y + h, x : x + w] > 0).sum() >= 0.7 * (mask > 0).sum():
            return x, y, x + w, y + h
    return 0, 0, width, height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("street", type=Path)
    parser.add_argument("--encoder", default="serupa-clothes")
    parser.add_argument("--every", type=int, default=1, help="every how many photos one is asked")
    given = parser.parse_args()
    encoder = load_encoder(given.encoder)
    with (given.street / "labels.csv").open() as file:
        ids = {row["label"]: int(row["id"]) for row in csv.DictReader(file)}
    with (given.street / "masks.csv").open() as file:
        rows = list(csv.DictReader(file))[:: given.every]
    for cropped in (False, True):
        rng = np.random.default_rng(5)
        truths: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
        found: dict[str, list[np.ndarray | None]] = {part: [] for part in PARTS}
        for row in rows:
            photo = Image.open(given.street / row["image"]).convert("RGB")
            mask = np.asarray(Image.open(given.street / row["mask"]))
            if cropped:
                left, top, right, bottom = random_crop(mask, rng)
                photo, mask = photo.crop((left, top, right, bottom)), mask[top:bottom, left:right]
            data = io.BytesIO()
            photo.save(data, "PNG")
            regions = find_regions(encoder, data.getvalue())
            for part, (names, labels) in PARTS.items():
                truth = box_of(np.isin(mask, [ids[label] for label in labels.split()]))
                if truth is None:
                    continue
                boxes = [r.box for r in regions if r.part in names]
                truths[part].append(truth)
                found[part].append(
                    np.array([boxes[0].x, boxes[0].y, boxes[0].x + boxes[0].w, boxes[0].y + boxes[0].h])
                    if boxes
                    else None
                )
        print(f"\n| {'cropped at random' if cropped else 'as they are'} | found | beside the fixed box |")
        print("| --- | --- | --- |")
        for part, boxes in truths.items():
            every = np.stack(boxes)
            fixed = [
                overlap(np.median(np.delete(every, n, axis=0), axis=0), box) >= 0.5
                for n, box in enumerate(boxes)
            ]
            right = [
                one is not None and overlap(one, box) >= 0.5
                for one, box in zip(found[part], boxes, strict=True)
            ]
            photos = [str(n) for n in range(len(boxes))]
            gain = difference([float(one) for one in fixed], [float(one) for one in right], photos)
            print(f"| {part}, {len(boxes)} | {share(right)} | {gain} |", flush=True)


if __name__ == "__main__":
    main()
