"""Colour harmony: rules of thumb on the main colours of two garments.

Neutral colours go with everything, shades of one hue go together, opposite hues can, two loud ones that are
neither seldom do [1]_ [2]_.

References
----------
.. [1] J. Itten, "The art of color", 1961.
.. [2] D. Cohen-Or et al., "Color harmonization", SIGGRAPH 2006.
"""

from __future__ import annotations

from collections.abc import Sequence

from serupa.garments.colors import NEUTRAL, Color


def harmony(one: Sequence[Color], other: Sequence[Color]) -> tuple[float, str]:
    """Return how well the main colours of two garments go together, 0 to 1, and the rule that says so.

    The rules are ``unknown``, ``neutral``, ``tonal`` (one hue in two shades), ``same`` (one colour twice),
    ``near`` (hues side by side), ``opposite``, ``loud`` (two strong colours that are neither) and ``plain``.
    """
    if not one or not other:
        return 0.5, "unknown"
    a, b = one[0], other[0]
    if a.name in NEUTRAL or b.name in NEUTRAL:
        return (0.6, "same") if a.name == b.name else (0.8, "neutral")
    return _of_hues(a, b)


def _of_hues(a: Color, b: Color) -> tuple[float, str]:
    turn = abs(a.hue - b.hue) % 360
    apart = min(turn, 360 - turn)
    if apart < 20:
        return (0.7, "tonal") if abs(a.lightness - b.lightness) > 0.12 else (0.45, "same")
    if apart < 60:
        return 0.65, "near"
    if apart > 140:
        return 0.55, "opposite"
    return (0.2, "loud") if min(a.chroma, b.chroma) > 0.1 else (0.4, "plain")
