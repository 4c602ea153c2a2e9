"""Choosing classes to evaluate on: the largest ones that are large enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Selection:
    """Which classes were kept, and what that left.

    Parameters
    ----------
    counts : dict of str to int
        Images of each class kept, from the largest; ties by name.
    indices : (m,) array of int
        Positions of the images kept, in the order they came in.
    classes_before, images_before : int
        What there was. Images without a class count as images only.
    classes_wanted, min_images : int
        The rule: at most this many classes, each of at least this many images.
    """

    counts: dict[str, int]
    indices: NDArray[np.int64]
    classes_before: int
    images_before: int
    classes_wanted: int
    min_images: int

    @property
    def classes_after(self) -> int:
        """Number of classes kept."""
        return len(self.counts)

    @property
    def images_after(self) -> int:
        """Number of images kept."""
        return len(self.indices)

    def to_dict(self) -> dict[str, Any]:
        """Return the rule, the sizes before and after, and the classes kept, as plain data."""
        return {
            "rule": {"classes": self.classes_wanted, "min_images": self.min_images},
            "before": {"classes": self.classes_before, "images": self.images_before},
            "after": {"classes": self.classes_after, "images": self.images_after},
            "classes": dict(self.counts),
        }

    def __str__(self) -> str:
        return (
            f"The {self.classes_wanted} largest classes with at least {self.min_images} images: "
            f"{self.classes_before:,} classes and {self.images_before:,} images before, "
            f"{self.classes_after:,} and {self.images_after:,} after."
        )


def select_classes(labels: Sequence[str | None], *, classes: int = 100, min_images: int = 75) -> Selection:
    """Keep the `classes` largest classes that have at least `min_images` images each.

    Parameters
    ----------
    labels : sequence of str or None
        The class of each image; None (or an empty text) for an image that has none, which is never kept.
    classes : int
        How many classes to keep at most.
    min_images : int
        How many images a class must have at least.

    Returns
    -------
    Selection
        Classes of the same size come in the order of their names, so the same labels in any order give the
        same classes.

    Examples
    --------
    >>> kept = select_classes(["Tee", "Coat", "Tee", "Hat"], classes=2, min_images=1)
    >>> kept.counts
    {'Tee': 2, 'Coat': 1}
    >>> kept.indices
    array([0, 1, 2])
    """
    counted = Counter(label for label in labels if label)
    largest = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    counts = {name: count for name, count in largest[: max(classes, 0)] if count >= min_images}
    return Selection(
        counts=counts,
        indices=np.array([i for i, label in enumerate(labels) if label in counts], dtype=np.int64),
        classes_before=len(counted),
        images_before=len(labels),
        classes_wanted=classes,
        min_images=min_images,
    )
