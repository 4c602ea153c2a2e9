"""The whole of the paper's experiment in one call: select classes, index, evaluate, draw, export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serupa.catalog import Catalog
from serupa.errors import InvalidInputError
from serupa.evaluation.experiment import embedded_items, evaluate_catalog
from serupa.evaluation.protocol import Evaluation
from serupa.evaluation.report import write_report
from serupa.paper.artefacts import write_artefacts
from serupa.paper.selection import Selection, select_classes
from serupa.paper.table import beside_paper
from serupa.progress import Progress, silent
from serupa.sources.deepfashion import deepfashion_category
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
        DeepFashion, Category and Attribute Prediction (see `serupa.sources.deepfashion`).
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
    NotFoundError
        If the folder is not the data set.
    InvalidInputError
        If no class is large enough.
    UnavailableError
        If the encoder's weights are not here.
    """
    out, tell = Path(directory), progress or silent
    items = list(deepfashion_category(deepfashion))
    selection = select_classes([item.product_id for item in items], classes=classes, min_images=min_images)
    if not selection.classes_after:
        raise InvalidInputError(deepfashion, f"no class has {min_images} images", "lower --min-images")
    selected = {items[row].id: items[row] for row in selection.indices}
    with Catalog.create(
        out / "catalog", encoder, metrics=METRICS, resize="squash", weights=weights, kinds=0.0, exist_ok=True
    ) as catalog:
        if others := [item.id for item in catalog.items() if item.id not in selected]:
            catalog.remove(others)  # of a run with another selection
        added = catalog.add(
            list(selected.values()), progress=lambda report: tell("indexing", report.seen, len(selected))
        )
        evaluation = evaluate_catalog(catalog, LABEL, queries=queries, seed=seed, progress=progress)
        (out / "selection.json").write_text(json.dumps(selection.to_dict(), indent=2), encoding="utf-8")
        report = write_report(
            evaluation,
            out / "report",
            gallery=embedded_items(catalog, LABEL),
            items=selected,
            title=f"The paper's experiment with {catalog.manifest.card.name}",
            about=str(selection),
            published=beside_paper(evaluation),
            progress=progress,
        )
        tell("writing artefacts", 0, 1)
        write_artefacts(catalog, out / "artefacts", label=LABEL)
    return Reproduction(selection, added, evaluation, report)
