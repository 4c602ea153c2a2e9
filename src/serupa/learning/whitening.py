"""Learned whitening: a linear map after which photos of one product lie as closely as photos can.

Photos are scaled to length 1 and the mean is taken off. Of what is left the directions that vary most are
kept (PCA), and these are scaled so that photos of the same product vary by the same amount in each of them:
with ``W`` their covariance within products and ``L L' = W + ridge * mean variance * I``, a photo ``y``
becomes ``L^-1 y``. What makes photos of one product differ (pose, light, view) shrinks, what tells products
apart stays. The cosine of two photos is then the cosine under the Mahalanobis form of ``W`` [1]_ [2]_.

References
----------
.. [1] H. Jegou, O. Chum, "Negative evidences and co-occurrences in image retrieval: the benefit of PCA and
   whitening", ECCV 2012.
.. [2] F. Radenovic, G. Tolias, O. Chum, "CNN image retrieval learns from BoW: unsupervised fine-tuning with
   hard examples", ECCV 2016, section 4.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serupa.errors import DamagedError, InvalidInputError
from serupa.vectors import unit

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]
"""Classes as whole numbers, shape (n,); -1 for a photo that has none."""

_CHUNK = 4_096  # rows: 21 MB of 1,280 values; sums of float32 products over more rows would lose digits
_RANK = 1e-7  # share of the largest variance below which a direction is rounding noise


@dataclass(frozen=True, eq=False)
class Whitening:
    """A learned whitening, ready to be applied.

    Parameters
    ----------
    mean : (d,) array of float32
        Taken off embeddings of length 1.
    projection : (m, d) array of float32
        Applied to the rest; m is at most d.
    """

    mean: Floats
    projection: Floats

    def __post_init__(self) -> None:
        if self.projection.ndim != 2 or self.mean.shape != self.projection.shape[1:]:
            raise ValueError(f"a mean {self.mean.shape} and a projection {self.projection.shape} do not fit")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.projection).all()):
            raise ValueError("a whitening holds NaN or infinity")

    @property
    def dimension(self) -> int:
        """How many values a whitened embedding has, m."""
        return len(self.projection)

    def apply(self, embeddings: Floats) -> Floats:
        """Whiten raw embeddings ``(n, d)`` to ``(n, m)``, each of length 1; zeros stay zeros."""
        whitened = np.empty((len(embeddings), self.dimension), np.float32)
        for start in range(0, len(embeddings), _CHUNK):
            chunk = embeddings[start : start + _CHUNK]
            mapped = np.matmul(unit(chunk) - self.mean, self.projection.T, dtype=np.float32)
            mapped[~chunk.any(axis=1)] = 0.0
            whitened[start : start + _CHUNK] = unit(mapped)
        return whitened

    def to_bytes(self) -> bytes:
        """Return the whitening as the bytes of an .npz file."""
        written = io.BytesIO()
        np.savez(written, mean=self.mean, projection=self.projection)
        return written.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` returned.

        Raises
        ------
        DamagedError
            If it is something else.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return cls(arrays["mean"], arrays["projection"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DamagedError("the tuning", f"cannot be read ({error})", "serupa tune --undo") from error


@dataclass(frozen=True)
class Moments:
    """The sums over photos that a whitening is worked out from; those of different photos add up.

    Parameters
    ----------
    count : int
        Photos.
    total : (d,) array of float64
        Their sum.
    scatter : (d, d) array of float64
        Sum of their outer products.
    within : tuple of (d, d) arrays of float64
        For each label, the sum of outer products of what is left when each photo's class mean is taken off.
    freedom : tuple of int
        For each label, labelled photos less classes.
    """

    count: int
    total: Doubles
    scatter: Doubles
    within: tuple[Doubles, ...]
    freedom: tuple[int, ...]

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.scatter + other.scatter,
            tuple(a + b for a, b in zip(self.within, other.within, strict=True)),
            tuple(a + b for a, b in zip(self.freedom, other.freedom, strict=True)),
        )

    def within_covariance(self, weights: Sequence[float]) -> Doubles:
        """Covariance within classes ``(d, d)``, averaged over the labels with these weights."""
        pairs = zip(self.within, self.freedom, weights, strict=True)
        weighted = sum(weight / max(freedom, 1) * within for within, freedom, weight in pairs)
        return np.asarray(weighted / sum(weights), np.float64)


@dataclass(frozen=True)
class Basis:
    """The directions in which photos vary most.

    Parameters
    ----------
    mean : (d,) array of float64
        The mean of the photos.
    directions : (d, k) array of float64
        Orthonormal columns, the one of the largest variance first.
    """

    mean: Doubles
    directions: Doubles


def fit_whitening(
    embeddings: Floats,
    labels: Sequence[Codes],
    *,
    dimension: int,
    ridge: float,
    weights: Sequence[float] = (1.0,),
) -> Whitening:
    """Learn a whitening from photos whose classes are known.

    Parameters
    ----------
    embeddings : (n, d) array of float32
        Raw embeddings.
    labels : sequence of (n,) arrays of int
        One or several labels: the class of each photo, -1 where it has none.
    dimension : int
        Directions to keep; fewer are kept where the photos span fewer.
    ridge : float
        Added to the covariance within classes, as a multiple of its mean variance; larger trusts it less.
    weights : sequence of float
        The weight of each label.

    Raises
    ------
    InvalidInputError
        If no class has two photos that differ.
    """
    prepared = centred(embeddings)
    moments = moments_of(prepared.rows, labels)
    basis = principal_basis(moments, dimension)
    return whitening(prepared, basis, root_of(within_of(moments, basis, weights), ridge))


@dataclass(frozen=True, eq=False)
class Centred:
    """Embeddings as the sums are taken over them; all inner products are those of the unit-length photos.

    Parameters
    ----------
    rows : (n, k) array of float32
        Photos of length 1, less `shift`, in coordinates that `axes` turns back.
    shift : (d,) array of float64
        Near the mean, so that float32 loses nothing to cancellation; which point it is changes no result.
    axes : (k, d) array of float64 or None
        Orthonormal rows that span the photos where they are fewer than their values; else None.
    """

    rows: Floats
    shift: Doubles
    axes: Doubles | None


def centred(embeddings: Floats) -> Centred:
    """Prepare raw embeddings ``(n, d)`` for `moments_of`."""
    rows = unit(embeddings)
    shift = rows.mean(axis=0, dtype=np.float64)
    rows -= shift.astype(np.float32)
    if len(rows) >= rows.shape[1]:
        return Centred(rows, shift, None)
    # A few hundred photos span a few hundred dimensions: an exact change of coordinates saves the rest.
    axes = np.linalg.qr(rows.T.astype(np.float64)).Q.T
    return Centred((rows @ axes.T).astype(np.float32), shift, axes)


def moments_of(rows: Floats, labels: Sequence[Codes]) -> Moments:
    """Sum over photos, rows of `Centred.rows`."""
    scatter = _scatter(rows)
    within, freedom = [], []
    for codes in labels:
        labelled = codes >= 0
        own, of_own = (rows, codes) if labelled.all() else (rows[labelled], codes[labelled])
        classes, member, sizes = np.unique(of_own, return_inverse=True, return_counts=True)
        sums = np.zeros((len(classes), rows.shape[1]))
        order = np.argsort(member, kind="stable")
        if len(classes):
            starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
            sums[:] = np.add.reduceat(own[order], starts, axis=0, dtype=np.float64)
        between = sums / np.sqrt(np.maximum(sizes, 1))[:, None]
        within.append((scatter if own is rows else _scatter(own)) - between.T @ between)
        freedom.append(len(own) - len(classes))
    return Moments(len(rows), rows.sum(axis=0, dtype=np.float64), scatter, tuple(within), tuple(freedom))


def principal_basis(moments: Moments, limit: int) -> Basis:
    """Return the mean and at most `limit` principal directions of the photos."""
    mean = moments.total / moments.count
    variances, directions = np.linalg.eigh(moments.scatter / moments.count - np.outer(mean, mean))
    kept = max(1, min(limit, int(np.count_nonzero(variances > _RANK * variances[-1]))))
    return Basis(mean, directions[:, ::-1][:, :kept])


def within_of(moments: Moments, basis: Basis, weights: Sequence[float]) -> Doubles:
    """Return the covariance within classes in the directions of a basis, ``(k, k)``."""
    return basis.directions.T @ moments.within_covariance(weights) @ basis.directions


def root_of(within: Doubles, ridge: float) -> Doubles:
    """Return ``L^-1`` where ``L L' = within + ridge * mean variance * I``.

    Raises
    ------
    InvalidInputError
        If photos of the same class do not differ, so that there is nothing to learn from.
    """
    spread = float(np.trace(within)) / len(within)
    if not spread > 1e-12:
        raise InvalidInputError("labels", "nothing to learn from: photos that share one do not differ")
    lower = np.linalg.cholesky(within + ridge * spread * np.eye(len(within)))
    return np.asarray(np.linalg.inv(lower), np.float64)


def whitening(prepared: Centred, basis: Basis, root: Doubles) -> Whitening:
    """Put the parts of a whitening together, in the coordinates of raw embeddings."""
    projection = root @ basis.directions[:, : len(root)].T
    mean = basis.mean
    if prepared.axes is not None:
        projection, mean = projection @ prepared.axes, mean @ prepared.axes
    return Whitening((prepared.shift + mean).astype(np.float32), projection.astype(np.float32))


def _scatter(rows: Floats) -> Doubles:
    """Sum of outer products; of many rows in float32 within a chunk, and float64 over chunks."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        if len(rows) <= _CHUNK:
            # few photos may span fewer directions than they have values: rounding must not add any
            chunk = chunk.astype(np.float64)
        total += chunk.T @ chunk
    return total
