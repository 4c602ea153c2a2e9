"""A training run: which views make the pairs of a step, what a step asks for, and how a run goes on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError
from serupa.files.atomic import write_atomic
from serupa.learning.judge import Judge
from serupa.learning.material import Material, PreparedViews, Progress

if TYPE_CHECKING:
    import torch

    from serupa.evaluation.comparison import Difference
    from serupa.learning.network import Network

TOLD_EVERY = 10
"""Steps whose losses are told as one."""

_SAVED_EVERY = 50
_JUDGED = 4  # times within a run
_WARM_UP = 50
_AVERAGED = 0.98
_SELDOM = frozenset({"shoes", "hat", "bag", "scarf", "belt", "jewelry", "socks"})


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


class Pairs:
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


class Run:
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
        self.pairs = Pairs(material, prepared, recipe)
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
        self._judge = Judge(network, material)
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
            if self._step % TOLD_EVERY == 0 or self._step == recipe.steps:
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
