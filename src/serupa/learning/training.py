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
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from serupa.encoders.cards import Card, card_toml, load_card
from serupa.encoders.checkpoint import read_checkpoint
from serupa.encoders.efficientnet import build_graph
from serupa.encoders.encoder import OUR_PORTS
from serupa.encoders.graph import half_weights
from serupa.encoders.weights import find_weights
from serupa.errors import ConflictError, InvalidInputError, MissingExtraError
from serupa.evaluation import measures
from serupa.evaluation.comparison import Difference, paired_differences
from serupa.files.atomic import write_atomic
from serupa.learning.material import Held, Material, PreparedViews, Progress, read_material
from serupa.progress import silent

if TYPE_CHECKING:
    import torch

    from serupa.items import Item
    from serupa.learning.network import Network
    from serupa.sources import Source

START = "efficientnet-lite0"
_SAVED_EVERY = 50
_JUDGED = 4  # times within a run
_WARM_UP = 50
_AVERAGED = 0.98
_TOLD_EVERY = 10


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    steps : int
    pairs : int
        Pairs of views a step.
    of_products : float
        Share of the pairs that are two photos of one product, where there are so many products.
    rounds : int
        Views that are prepared of each photo.
    side : int
        Of a view, in pixels; a multiple of 32.
    frozen : int
        How many blocks of the network stay as they are.
    rate, head_rate : float
        Learning rates at their highest, of the network and of what is only needed to train it.
    kinds, kind_scale : float
        Weight of the kind of garment, and what its cosines are multiplied by.
    distillation, rare : float
        Weight of staying near the starting network, and by how much more for what is seldom seen (shoes,
        hats, bags, jewellery) and for grey views.
    grey, worn : float
        Grey views a pair; how often a shopper's garment is paired with itself worn.
    blend : float
        How far from the starting weights to the trained ones, 0 to 1.
    seed : int
    """

    steps: int = 450
    pairs: int = 48
    of_products: float = 0.5
    rounds: int = 16
    side: int = 192
    frozen: int = 6
    rate: float = 3e-4
    head_rate: float = 1e-3
    kinds: float = 2.5
    kind_scale: float = 24.0
    distillation: float = 1.2
    rare: float = 5.0
    grey: float = 0.12
    worn: float = 0.7
    blend: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        fine = (
            self.steps >= 1
            and self.pairs >= 2
            and 0 <= self.of_products <= 1
            and self.rounds >= 2
            and self.side >= 64
            and self.side % 32 == 0
            and 0 <= self.frozen <= 15
            and 0 < self.blend <= 1
        )
        if not fine:
            raise InvalidInputError("the recipe", f"cannot be trained by: {self}")


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
    network = Network(read_checkpoint(find_weights(start).path), recipe.frozen)
    prepared = PreparedViews(
        work, material, network, side=recipe.side, rounds=recipe.rounds, seed=recipe.seed, progress=progress
    )
    run = _Run(network, material, prepared, recipe, folder=work, device=_device(device))
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


class _Pairs:
    """Which views make the pairs of a step."""

    def __init__(self, material: Material, prepared: PreparedViews, recipe: Recipe) -> None:
        self._recipe, self._prepared = recipe, prepared
        products = material.products[prepared.rows]
        self.kinds = material.kinds[prepared.rows]
        by_product: dict[int, list[int]] = {}
        for place, product in enumerate(products.tolist()):
            if product >= 0:
                by_product.setdefault(product, []).append(place)
        self.products = [np.array(places) for places in by_product.values() if len(places) > 1]
        several = {int(place) for places in self.products for place in places}
        self.single = np.array([place for place in range(len(products)) if place not in several], np.int64)
        if len(self.single) == 0:
            self._of_products = min(recipe.pairs, len(self.products))
        else:
            wanted = round(recipe.pairs * recipe.of_products)
            self._of_products = min(wanted, len(self.products))
        self._of_single = min(recipe.pairs - self._of_products, len(self.single))
        if self._of_products + self._of_single < 2:
            raise InvalidInputError("the sources", "too few photos to make pairs of")
        # kinds that are seldom are drawn more often, by the square root of their number
        kinds = self.kinds[self.single]
        counts = np.bincount(kinds + 1) if len(kinds) else np.zeros(1)
        weights = 1 / np.sqrt(counts[kinds + 1]) if len(kinds) else np.zeros(0)
        self._chances = weights / weights.sum() if len(kinds) else weights
        types = prepared.types
        colour = [n for n, kind in enumerate(prepared.plan) if kind in ("plain", "elsewhere")]
        self._colour = np.array(colour)
        self._grey = np.array([n for n, kind in enumerate(prepared.plan) if kind == "grey"], np.int64)
        self._worn = [np.flatnonzero(types[:, place] == prepared.WORN) for place in range(len(products))]

    @property
    def count(self) -> int:
        """How many pairs a step has."""
        return self._of_products + self._of_single

    def draw(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rounds and places of a step's views: first views, second views, then grey ones."""
        rng = np.random.default_rng((self._recipe.seed, step))
        first, second = [], []
        for number in rng.choice(len(self.products), self._of_products, replace=False):
            one, other = rng.choice(self.products[number], 2, replace=False)
            first.append((rng.choice(self._colour), one))
            second.append((rng.choice(self._colour), other))
        singles: list[int] = []
        if self._of_single:
            singles = rng.choice(self.single, self._of_single, replace=False, p=self._chances).tolist()
        for place in singles:
            one, other = rng.choice(self._colour, 2, replace=len(self._colour) < 2)
            worn = self._worn[place]
            if len(worn) and rng.random() < self._recipe.worn:
                other = rng.choice(worn)
            first.append((one, place))
            second.append((other, place))
        grey = []
        if len(self._grey):
            for place in rng.integers(len(self.kinds), size=round(2 * self.count * self._recipe.grey)):
                grey.append((rng.choice(self._grey), place))
        rounds, places = np.array([*first, *second, *grey], np.int64).T
        return rounds, places


class _Run:
    """A run: from where it was stopped, if it was, to its end."""

    def __init__(
        self,
        network: Network,
        material: Material,
        prepared: PreparedViews,
        recipe: Recipe,
        *,
        folder: Path,
        device: str,
    ) -> None:
        import torch

        self._recipe, self._prepared, self._device = recipe, prepared, device
        self._material = material
        self._file = folder / "state.safetensors"
        self.pairs = _Pairs(material, prepared, recipe)
        self._start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        self._network = network
        network.to(device)
        torch.manual_seed(recipe.seed)
        self._heads = _heads(network.dimension, len(material.kind_names)).to(device)
        network_weights = [weight for weight in network.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": network_weights, "lr": recipe.rate},
                {"params": list(self._heads.parameters()), "lr": recipe.head_rate},
            ],
            weight_decay=0.01,
        )
        self._average = {name: tensor.clone() for name, tensor in self._start.items()}
        self._best = self._average
        self._judge = _Judge(network, material)
        self.losses: list[list[float]] = []
        self.judged: list[tuple[int, float]] = []
        self._step = 0
        seldom = [name in _SELDOM for name in material.kind_names]
        kinds = self.pairs.kinds
        self._rare = np.array([kind >= 0 and seldom[kind] for kind in kinds], bool)
        if self._file.exists():
            self._restore()

    def go(self, progress: Progress) -> None:
        """Train to the end of the recipe."""
        recipe = self._recipe
        turn = max(1, recipe.steps // _JUDGED)
        recent: list[list[float]] = []
        while self._step < recipe.steps:
            recent.append(self._one())
            self._step += 1
            if self._step % _TOLD_EVERY == 0 or self._step == recipe.steps:
                self.losses.append([float(value) for value in np.mean(recent, axis=0)])
                recent = []
            if self._step % turn == 0 or self._step == recipe.steps:
                self._look()
            if self._step % _SAVED_EVERY == 0 or self._step == recipe.steps:
                self._save()
            progress(self._said(), self._step, recipe.steps)

    def best(self) -> Network:
        """Return the network with the best weights, on the processor."""
        self._network.to("cpu").load_state_dict(self._best)
        return self._network

    def gains(self) -> dict[str, list[Difference]]:
        """Return what the best weights gain on the photos held back."""
        return self._judge.gains(self.best(), seed=self._recipe.seed)

    def _one(self) -> list[float]:
        import torch
        import torch.nn.functional as f

        recipe = self._recipe
        for group, highest in zip(self._optimizer.param_groups, (recipe.rate, recipe.head_rate), strict=True):
            group["lr"] = highest * _pace(self._step, recipe.steps)
        rounds, places = self.pairs.draw(self._step)
        fronts = torch.from_numpy(self._prepared.fronts[rounds, places]).to(self._device)
        teachers = torch.from_numpy(self._prepared.teachers[rounds, places]).to(self._device).float()
        kinds = torch.from_numpy(self.pairs.kinds[places]).to(self._device)
        types = self._prepared.types[rounds, places]
        with torch.autocast(self._device, torch.bfloat16):
            z = self._network.back(fronts.bfloat16().contiguous())
        z, pairs = z.float(), self.pairs.count
        unit = f.normalize(z, dim=1)
        found = _contrast(unit, pairs, 0.05)
        through = _contrast(f.normalize(self._heads["pairs"](z), dim=1), pairs, 0.1)
        known = kinds >= 0
        known[2 * pairs :] = False
        told = z.new_zeros(())
        if bool(known.any()):
            directions = f.normalize(self._heads["kinds"].weight, dim=1)
            told = f.cross_entropy(recipe.kind_scale * unit[known] @ directions.T, kinds[known])
        weights = np.where(self._rare[places] | (types == self._prepared.GREY), 1 + recipe.rare, 1.0)
        weights[types == self._prepared.WORN] *= 0.25
        apart = 1 - f.cosine_similarity(z, teachers)
        drift = (apart * torch.from_numpy(weights).to(apart)).mean()
        loss = found + through + recipe.kinds * told + recipe.distillation * drift
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._optimizer.param_groups[0]["params"], 5.0)
        self._optimizer.step()
        keep = min(_AVERAGED, self._step / (self._step + 20))
        with torch.no_grad():
            for name, tensor in self._network.state_dict().items():
                self._average[name].lerp_(tensor.to("cpu"), 1 - keep)
        return [float(value.detach()) for value in (found, through, told, drift)]

    def _look(self) -> None:
        """Judge the averaged weights, drawn back to the starting ones, and keep them if they are the best."""
        import torch

        blend = self._recipe.blend
        blended = {
            name: torch.lerp(self._start[name], tensor, blend) for name, tensor in self._average.items()
        }
        now = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        self._network.load_state_dict(blended)
        score = self._judge.score(self._network)
        self._network.load_state_dict(now)
        if not self.judged or score >= max(known for _, known in self.judged):
            self._best = blended
        self.judged.append((self._step, score))

    def _said(self) -> str:
        pairs = f"loss {sum(self.losses[-1]):.2f}" if self.losses else "training"
        return f"{pairs}, held back {self.judged[-1][1]:.3f}" if self.judged else pairs

    def _save(self) -> None:
        from safetensors.torch import save

        tensors: dict[str, torch.Tensor] = {}
        for prefix, state in (
            ("network.", self._network.state_dict()),
            ("average.", self._average),
            ("best.", self._best),
            ("heads.", self._heads.state_dict()),
        ):
            tensors |= {prefix + name: tensor.to("cpu").clone() for name, tensor in state.items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{number}.{name}": value.to("cpu").clone() for name, value in state.items()
            }
        notes = {"step": self._step, "losses": self.losses, "judged": self.judged}
        write_atomic(self._file, save(tensors, {"notes": json.dumps(notes)}))

    def _restore(self) -> None:
        from safetensors import safe_open

        with safe_open(self._file, "pt") as saved:
            notes = json.loads(saved.metadata()["notes"])
            tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118 - not a mapping

        def below(prefix: str) -> dict[str, torch.Tensor]:
            return {
                name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)
            }

        self._network.load_state_dict(below("network."))
        self._average, self._best = below("average."), below("best.")
        self._heads.load_state_dict(below("heads."))
        optimizer = self._optimizer.state_dict()
        optimizer["state"] = {}
        for name, value in below("optimizer.").items():
            number, _, part = name.partition(".")
            optimizer["state"].setdefault(int(number), {})[part] = value
        self._optimizer.load_state_dict(optimizer)
        self._step, self.losses = notes["step"], notes["losses"]
        self.judged = [(int(step), float(score)) for step, score in notes["judged"]]


_SELDOM = frozenset({"shoes", "hat", "bag", "scarf", "belt", "jewelry", "socks"})


def _heads(dimension: int, kinds: int) -> Any:
    from torch import nn

    return nn.ModuleDict(
        {
            "pairs": nn.Sequential(nn.Linear(dimension, 512), nn.ReLU(), nn.Linear(512, 128)),
            "kinds": nn.Linear(dimension, max(1, kinds), bias=False),
        }
    )


def _contrast(unit: torch.Tensor, pairs: int, temperature: float) -> torch.Tensor:
    """Return InfoNCE of the first views against the second and back."""
    import torch
    import torch.nn.functional as f

    similarities = unit[:pairs] @ unit[pairs : 2 * pairs].T / temperature
    own = torch.arange(pairs, device=unit.device)
    loss: torch.Tensor = (f.cross_entropy(similarities, own) + f.cross_entropy(similarities.T, own)) / 2
    return loss


def _pace(step: int, steps: int) -> float:
    """Return the share of the highest learning rate: up over the first steps, down along a cosine."""
    warm = min(_WARM_UP, max(1, steps // 4))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * step / steps))


class _Judge:
    """Tells what weights are worth on the photos that were held back, searched among themselves."""

    def __init__(self, network: Network, material: Material) -> None:
        rows = np.flatnonzero(material.held)
        self._fronts = network.fronts(material.centres[rows])
        self._labels = {
            name: codes[rows]
            for name, codes in (("product", material.products), ("kind", material.kinds))
            if _repeats(codes[rows])
        }
        # photos of one product rise and fall together
        products = material.products[rows]
        self._clusters = [int(code) if code >= 0 else None for code in products]
        self._before = self._values(network)

    def score(self, network: Network) -> float:
        """Return the mean over products and kinds of mAP; 0 where there is nothing to judge by."""
        values = self._values(network)
        return float(np.mean([np.nanmean(found["map"]) for found in values.values()])) if values else 0.0

    def gains(self, network: Network, *, seed: int) -> dict[str, list[Difference]]:
        """Return the differences to the network as it was given to the constructor."""
        after = self._values(network)
        return {
            name: paired_differences(before, after[name], clusters=self._clusters, seed=seed)
            for name, before in self._before.items()
        }

    def _values(self, network: Network) -> dict[str, dict[str, NDArray[np.float64]]]:
        embeddings = network.backs(self._fronts)
        rows = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
        similarities = rows @ rows.T
        np.fill_diagonal(similarities, -np.inf)
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :-1]
        return {name: _precisions(codes, order) for name, codes in self._labels.items()}


def _repeats(codes: NDArray[np.int64]) -> bool:
    known = codes[codes >= 0]
    return len(np.unique(known)) > 1 and bool((np.bincount(known) > 1).any())


def _precisions(codes: NDArray[np.int64], order: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    relevant = (codes[order] == codes[:, None]) & (codes[:, None] >= 0)
    totals = relevant.sum(1)
    found = {"map": np.full(len(codes), np.nan), "precision@1": np.full(len(codes), np.nan)}
    asked = totals > 0
    found["map"][asked] = measures.average_precision(relevant[asked], totals[asked])
    found["precision@1"][asked] = relevant[asked, 0]
    return found


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
        lines.append(f"| {(number + 1) * _TOLD_EVERY} | {row} |")
    lines += ["", "| step | mAP on photos held back |", "| --- | --- |"]
    lines += [f"| {step} | {score:.3f} |" for step, score in trained.judged]
    return "\n".join(lines) + "\n"
