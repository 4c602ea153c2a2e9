"""A rectangle of a photo."""

from __future__ import annotations

import math
from dataclasses import dataclass

from serupa.errors import UsageError


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of a photo, in fractions of its upright width and height.

    Parameters
    ----------
    x, y : float
        The left and upper edge, 0 to 1.
    w, h : float
        Width and height, above 0; ``x + w`` and ``y + h`` are at most 1.

    Raises
    ------
    UsageError
        When the rectangle is empty or not inside the photo (by more than 1e-6; less is cut off).
    """

    x: float
    y: float
    w: float
    h: float

    def __post_init__(self) -> None:
        for start, length in (("x", "w"), ("y", "h")):
            low, size = getattr(self, start), getattr(self, length)
            if not (math.isfinite(low) and math.isfinite(size)):
                raise UsageError(f"crop {self}", "not a finite number")
            if size <= 0:
                raise UsageError(f"crop {self}", f"{length} must be above 0")
            if low < -1e-6 or low + size > 1 + 1e-6 or low >= 1:
                hint = f"keep {start} and {start} + {length} in 0 to 1"
                raise UsageError(f"crop {self}", "not inside the photo", hint)
            object.__setattr__(self, start, max(0.0, float(low)))
            object.__setattr__(self, length, min(float(size), 1.0 - max(0.0, float(low))))

    def __str__(self) -> str:
        return f"{self.x:g},{self.y:g},{self.w:g},{self.h:g}"

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read ``"x,y,w,h"``.

        Raises
        ------
        UsageError
            When the text is not four numbers, or not a rectangle inside the photo.
        """
        try:
            x, y, w, h = (float(part) for part in text.split(","))
        except ValueError:
            hint = "write x,y,w,h, such as 0.1,0.2,0.5,0.6"
            raise UsageError(f"crop {text[:60]!r}", "not four fractions of the photo", hint) from None
        return cls(x, y, w, h)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the whole pixels (left, upper, right, lower) of an image of this size; at least one."""
        left, right = _whole_pixels(self.x, self.w, width)
        upper, lower = _whole_pixels(self.y, self.h, height)
        return left, upper, right, lower


def _whole_pixels(start: float, length: float, side: int) -> tuple[int, int]:
    """Return the first pixel of an interval and the one after its last: every pixel that it touches."""
    first = min(math.floor(start * side + 1e-6), side - 1)
    return first, min(max(math.ceil((start + length) * side - 1e-6), first + 1), side)
