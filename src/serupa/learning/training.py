"""Training: an encoder that learns from a shop's own photos, judged by products that it never saw.

EfficientNet-Lite0 starts from its ImageNet weights. The stem and its first blocks stay as they are, the rest
learns from views of photos, in pairs that show the same: two photos of one product where there are several,
else two views of one photo, which may lay the garment on a model (`serupa.learning.views.Worn`). Four things
are asked for at once, on embeddings ``z`` of length 1:

* both views of a pair find each other among all others of the step, InfoNCE [1]_ at a temperature of 0.05;
* the same through a small head, at 0.1;
* ``z`` tells the kind of garment: cross entropy over scaled cosines to one direction a kind. This is what
  brings photos of shops and of shoppers together;
* ``z`` stays near the starting network's embedding of the same view, twice or more so for what is not a
  garment of the body and for coarse grey views: what is never asked for is forgotten otherwise;

and the weights that are kept are an average over the last steps [2]_, drawn back towards the starting ones
[3]_. Every step draws its photos by its own number, so a run that was stopped goes on as if it had not been.

References
----------
.. [1] A. van den Oord, Y. Li, O. Vinyals, "Representation learning with contrastive predictive coding", 2018.
.. [2] P. Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018.
.. [3] M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from serupa.encoders.cards import Card, card_toml, load_card
from serupa.encoders.checkpoint import read_checkpoint
from serupa.encoders.efficientnet import build_graph
from serupa.encoders.encoder import OUR_PORTS
from serupa.encoders.graph import half_weights
from serupa.encoders.weights import find_weights
from serupa.errors import ConflictError, MissingExtraError
from serupa.evaluation.comparison import Difference
from serupa.files.atomic import write_atomic
from serupa.learning.material import Held, Material, PreparedViews, Progress, StartingNetwork, read_material
from serupa.learning.run import TOLD_EVERY, Recipe, Run
from serupa.progress import silent

if TYPE_CHECKING:
    from serupa.items import Item
    from serupa.learning.network import Network
    from serupa.sources import Source

START = "efficientnet-lite0"


@dataclass(frozen=True)
class Trained:
    """An encoder that was trained, and what it is worth.

    Parameters
    ----------
    card, model : Path
        What was written.
    recipe : Recipe
    photos, products, held : int
        Photos and products learned from, and photos only judged by.
    gains : dict of str to list of Difference
        By label, on photos that were not learned from, against the starting network.
    losses : list of (list of float)
        Mean losses of every ten steps: pairs, pairs through the head, kinds, distillation.
    judged : list of (int, float)
        Step and score on the photos held back.
    seconds : float
        This run alone, where it went on from another.
    """

    card: Path
    model: Path
    recipe: Recipe
    photos: int
    products: int
    held: int
    gains: dict[str, list[Difference]]
    losses: list[list[float]]
    judged: list[tuple[int, float]]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {
            "card": str(self.card),
            "model": str(self.model),
            "recipe": dataclasses.asdict(self.recipe),
            "photos": self.photos,
            "products": self.products,
            "held": self.held,
            "gains": {label: [gain.to_dict() for gain in gains] for label, gains in self.gains.items()},
            "losses": self.losses,
            "judged": self.judged,
            "seconds": round(self.seconds, 1),
        }


def train(
    sources: Sequence[Source],
    out: Path,
    *,
    name: str | None = None,
    label: str = "product_id",
    apart: str | None = None,
    held: Held | None = None,
    kind_of: Callable[[Item], str | None] | None = None,
    recipe: Recipe | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    progress: Progress = silent,
) -> Trained:
    """Train an encoder on photos, and write its model, its card and a report.

    Stopped and called again with the same arguments it goes on, and ends with the weights it would have had:
    to the last bit on the same machine with as many threads.

    Parameters
    ----------
    sources : sequence of sources
        As for `read_source`.
    out : Path
        The folder to write to.
    name : str, optional
        Of the encoder; the folder's unless given.
    label : str
        What photos of one product share.
    apart : str, optional
        A field: of photos that share it, none is learned from while another is judged by. `label` unless
        given.
    held : mapping, optional
        Which photos to judge by; a tenth of the products, by chance, unless given.
    kind_of : callable, optional
        Tells the kind of garment of an item, or None; by the shop's category unless given.
    recipe : Recipe, optional
    device : {"auto", "cpu", "cuda"}
    progress : callable
        Called with what is being done, how much is done, and of how much.

    Raises
    ------
    MissingExtraError
        If PyTorch is not installed.
    ConflictError
        If the folder holds a run of other photos or another recipe.
    InvalidInputError
        If there is too little to learn from.
    """
    try:
        from serupa.learning.network import Network
    except ImportError as error:
        raise MissingExtraError("training an encoder", "train") from error

    started = time.perf_counter()
    recipe = recipe or Recipe()
    start = load_card(START)
    material = read_material(
        sources,
        label=label,
        kind_of=kind_of or _kind_by_category,
        apart=apart,
        held=held,
        side=start.input_size,
        seed=recipe.seed,
        progress=progress,
    )
    work = out / "training"
    work.mkdir(parents=True, exist_ok=True)
    _claim(work, recipe, material)
    state = read_checkpoint(find_weights(start).path)
    network = Network(state, recipe.frozen)
    starting = StartingNetwork(state, start, frozen=recipe.frozen, side=recipe.side)
    prepared = PreparedViews(
        work, material, starting, rounds=recipe.rounds, seed=recipe.seed, progress=progress
    )
    run = Run(network, material, prepared, recipe, folder=work, device=_device(device))
    run.go(progress)
    card, model = _write(run.best(), start, out, name or out.resolve().name)
    trained = Trained(
        card=card,
        model=model,
        recipe=recipe,
        photos=len(prepared.rows),
        products=len(run.pairs.products),
        held=int(material.held.sum()),
        gains=run.gains(),
        losses=run.losses,
        judged=run.judged,
        seconds=time.perf_counter() - started,
    )
    write_atomic(out / "report.json", (json.dumps(trained.to_dict(), indent=1) + "\n").encode())
    write_atomic(out / "report.md", _report(trained).encode())
    return trained


def _kind_by_category(item: Item) -> str | None:
    from serupa.garments.kinds import kinds_of

    found = kinds_of(str(item.label("category") or ""), item.name)
    return next(iter(found)) if len(found) == 1 else None


def _device(wanted: str) -> str:
    import torch

    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def _claim(folder: Path, recipe: Recipe, material: Material) -> None:
    """Refuse a folder that holds another run."""
    plan = {"recipe": dataclasses.asdict(recipe), "material": material.fingerprint()}
    path = folder / "plan.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != plan:
        raise ConflictError(folder, "holds a run of other photos or another recipe", "name another folder")
    write_atomic(path, json.dumps(plan).encode())


def _write(network: Network, start: Card, out: Path, name: str) -> tuple[Path, Path]:
    """Write the model with weights of half precision, and its card."""
    card = Card.from_dict(
        {
            **start.to_dict(),
            "name": name,
            "title": f"{start.title}, trained on photos of garments",
            "architecture": "onnx",
            "source": "serupa train",
            "weights": {"file": f"{name}.onnx"},
            "onnx": msgspec.structs.asdict(OUR_PORTS),
        }
    )
    model, written = out / f"{name}.onnx", out / "card.toml"
    write_atomic(model, half_weights(build_graph(network.export(), start)))
    write_atomic(written, card_toml(card).encode())
    return written, model


def _report(trained: Trained) -> str:
    lines = [
        f"# {trained.model.stem}",
        "",
        f"Trained on {trained.photos:,} photos, {trained.products:,} products with several of them, for "
        f"{trained.recipe.steps:,} steps. Judged on {trained.held:,} photos that were not learned from, "
        "searched among themselves, against the starting network; intervals are of 95 %, over products.",
        "",
        "| same | measure | before | after | change | interval | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {label} | {' | '.join(gain.cells())} |"
        for label, gains in trained.gains.items()
        for gain in gains
    ]
    lines += ["", "| step | pairs | through the head | kinds | drift |", "| --- | --- | --- | --- | --- |"]
    every = max(1, len(trained.losses) // 20)
    for number in range(every - 1, len(trained.losses), every):
        row = " | ".join(f"{loss:.3f}" for loss in trained.losses[number])
        lines.append(f"| {(number + 1) * TOLD_EVERY} | {row} |")
    lines += ["", "| step | mAP on photos held back |", "| --- | --- |"]
    lines += [f"| {step} | {score:.3f} |" for step, score in trained.judged]
    return "\n".join(lines) + "\n"
