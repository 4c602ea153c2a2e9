"""The whole of the paper's experiment in one call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serupa.catalog import Catalog
from serupa.errors import SourceError
from serupa.evaluation.experiment import embedded_items, evaluate_catalog
from serupa.evaluation.protocol import Evaluation, Progress
from serupa.evaluation.report import write_report
from serupa.paper.artefacts import write_artefacts
from serupa.paper.deepfashion import deepfashion_category
from serupa.paper.selection import Selection, select_classes
from serupa.vectors import METRICS

if TYPE_CHECKING:
    from serupa.catalog.ingest import AddReport

CLASSES, MIN_IMAGES, QUERIES = 100, 75, 100
"""The paper's: the 100 largest classes, each of at least 75 images; 100 random queries."""

LABEL = "product_id"  # a class is a folder below img/, which is an item's product


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What `reproduce` did.

    Parameters
    ----------
    selection : Selection
        Which classes were kept.
    added : AddReport
        What became of their photos.
    evaluation : Evaluation
        The measures, by the three metrics.
    report : Path
        The page with table and figures, our figures beside the paper's.
    """

    selection: Selection
    added: AddReport
    evaluation: Evaluation
    report: Path

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {
            "selection": self.selection.to_dict(),
            "added": self.added.to_dict(),
            "evaluation": self.evaluation.to_dict(),
            "report": str(self.report),
        }


def reproduce(
    deepfashion: str | Path,
    directory: str | Path,
    *,
    classes: int = CLASSES,
    min_images: int = MIN_IMAGES,
    queries: int = QUERIES,
    seed: int = 0,
    encoder: str = "resnet50",
    weights: str | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Select classes, index them as the paper does, evaluate, draw the figures, write the artefacts.

    Parameters
    ----------
    deepfashion : path
        DeepFashion, Category and Attribute Prediction (see `serupa.paper.deepfashion`).
    directory : path
        Where ``catalog/``, ``report/``, ``artefacts/`` and ``selection.json`` go. Interrupted and called
        again with the same arguments, it goes on where it stopped.
    classes, min_images : int
        The largest classes that have at least so many images.
    queries, seed : int
        How many random queries, and which.
    encoder, weights : str
        Another encoder, or the encoder's weights from a file.
    progress : callable, optional
        Called with what is being done, how much is done, and of how much.

    Raises
    ------
    SourceError
        If the folder is not the data set, or no class is large enough.
    WeightsError
        If the encoder's weights are not here.
    """
    out = Path(directory)
    items = list(deepfashion_category(deepfashion))
    selection = select_classes([item.product_id for item in items], classes=classes, min_images=min_images)
    if not selection.classes_after:
        raise SourceError(f"{deepfashion}: no class has {min_images} images; lower --min-images")
    chosen = [items[row] for row in selection.indices]
    tell = progress or (lambda *_: None)
    with Catalog.create(
        out / "catalog", encoder, metrics=METRICS, resize="squash", weights=weights, exist_ok=True
    ) as catalog:
        kept = {item.id for item in chosen}
        if others := [item.id for item in catalog.items() if item.id not in kept]:
            catalog.remove(others)  # of a run with another selection
        added = catalog.add(chosen, progress=lambda report: tell("indexing", report.seen, len(chosen)))
        evaluation = evaluate_catalog(catalog, LABEL, queries=queries, seed=seed, progress=progress)
        (out / "selection.json").write_text(json.dumps(selection.to_dict(), indent=2), encoding="utf-8")
        report = write_report(
            evaluation,
            out / "report",
            gallery=embedded_items(catalog, LABEL),
            items={item.id: item for item in chosen},
            title=f"The paper's experiment with {catalog.card.name}",
            selection=selection,
            paper=True,
            progress=progress,
        )
        tell("writing artefacts", 0, 1)
        write_artefacts(catalog, out / "artefacts", label=LABEL)
    return Reproduction(selection, added, evaluation, report)
