"""How sure a score is: logistic regression on one number, fitted to scores whose truth is known.

Platt scaling [1]_: the probability that a score is right is ``1 / (1 + exp(-(slope * score + offset)))``.
Newton's method finds the two numbers in a few steps. The targets are not quite 0 and 1 (Platt's own remedy),
so that a score that separates the two perfectly still gives finite numbers.

References
----------
.. [1] J. Platt, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood
   methods", Advances in Large Margin Classifiers, 1999; the numerically safe form after H.-T. Lin, C.-J. Lin,
   R. Weng, "A note on Platt's probabilistic outputs for support vector machines", Machine Learning 68, 2007.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STEPS = 50
_RIDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns a score into a probability.

    Parameters
    ----------
    slope, offset : float
        Of the log-odds; the slope is not below 0, so that a higher score is never less sure.
    """

    slope: float
    offset: float

    def __call__(self, score: float) -> float:
        """Return the probability that something with this score is right."""
        return 0.5 * (1.0 + math.tanh(0.5 * (self.slope * score + self.offset)))

    def score_at(self, probability: float) -> float:
        """Return the score from which on the probability is at least this; infinite where it never is."""
        odds = math.log(probability / (1 - probability))
        if self.slope == 0:
            return -math.inf if self.offset >= odds else math.inf
        return (odds - self.offset) / self.slope


def calibrate(scores: ArrayLike, right: ArrayLike) -> Calibration:
    """Fit a calibration to scores ``(n,)`` and whether each was right ``(n,)``; n is at least 1."""
    x = np.asarray(scores, np.float64)
    truth = np.asarray(right, bool)
    yes, no = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (yes + 1) / (yes + 2), 1 / (no + 2))
    centre, scale = float(x.mean()), float(x.std()) or 1.0
    design = np.stack([(x - centre) / scale, np.ones_like(x)], axis=1)
    weights = _fitted(design, target)
    if weights[0] < 0:
        weights = np.array([0.0, math.log((yes + 1) / (no + 1))])
    slope = float(weights[0]) / scale
    return Calibration(slope, float(weights[1]) - slope * centre)


def _fitted(design: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = 0.5 * (1.0 + np.tanh(0.5 * (design @ weights)))
        slope = design.T @ (target - chance) - _RIDGE * weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights = weights + step * min(1.0, 5.0 / (float(np.abs(step).max()) + 1e-12))
        if float(np.abs(step).max()) < 1e-8:
            break
    return weights
