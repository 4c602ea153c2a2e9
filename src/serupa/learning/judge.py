"""What weights are worth on the photos that were held back, searched among themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serupa.evaluation import measures
from serupa.evaluation.comparison import Difference, paired_differences

if TYPE_CHECKING:
    from serupa.learning.material import Material
    from serupa.learning.network import Network


class Judge:
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
