"""Conditions on items as plain data, and the forms in which people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serupa.errors import UsageError

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one field; all that are set must hold.

    Parameters
    ----------
    field : str
        ``id``, ``product_id`` or the name of an attribute.
    any_of : tuple of str, int, float or bool
        The field equals one of these; a list-valued field holds one of these.
    none_of : tuple of str, int, float or bool
        The field equals none of these.
    gt, gte, lt, lte : float, optional
        Bounds on a number.
    """

    field: str
    any_of: tuple[Scalar, ...] = ()
    none_of: tuple[Scalar, ...] = ()
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    @property
    def has_range(self) -> bool:
        """Whether the condition bounds a number."""
        return any(bound is not None for bound in (self.gt, self.gte, self.lt, self.lte))


Filter = tuple[Condition, ...]


Where = Mapping[str, Any] | Sequence[str] | Filter | None
"""What callers may pass as ``where``: a mapping, texts such as ``price<=50``, or conditions."""


_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


_TEXT = re.compile(r"(?P<field>[^=<>!]+?)\s*(?P<op>>=|<=|!=|=|<|>)\s*(?P<value>.*)", re.DOTALL)


def as_filter(where: Where) -> Filter:
    """Turn whatever a caller passed as ``where`` into conditions.

    Parameters
    ----------
    where : mapping, sequence of str, filter or None
        A mapping gives each field a value, a list of values (any of them), or bounds
        (``{"gte": 10, "lt": 50}``). Texts are ``field=value``, ``field=a|b`` (any of them),
        ``field!=value``, ``field=10..50`` and ``field>=10`` with the other comparisons.

    Returns
    -------
    tuple of Condition
        All of them must hold; empty when there is no condition.

    Raises
    ------
    UsageError
        If a condition cannot be understood.
    """
    if where is None:
        return ()
    if isinstance(where, Mapping):
        return tuple(_from_mapping(name, value) for name, value in where.items())
    if isinstance(where, str):
        return (_from_text(where),)
    return tuple(c if isinstance(c, Condition) else _from_text(c) for c in where)


def _from_mapping(field: str, value: Any) -> Condition:
    if isinstance(value, Mapping):
        unknown = set(value) - {"gt", "gte", "lt", "lte", "not", "any"}
        if unknown or not value:
            given = ", ".join(sorted(map(str, unknown))) or "nothing"
            raise UsageError(f"filter on {field!r}", f"{given} given", "use gt, gte, lt, lte, any or not")
        bounds = {key: _number(field, value[key]) for key in ("gt", "gte", "lt", "lte") if key in value}
        return Condition(
            field,
            any_of=_scalars(field, value.get("any", ())),
            none_of=_scalars(field, value.get("not", ())),
            **bounds,
        )
    values = _scalars(field, value)
    if not values:
        raise UsageError(f"filter on {field!r}", "an empty list matches nothing")
    return Condition(field, any_of=values)


def _scalars(field: str, value: Any) -> tuple[Scalar, ...]:
    values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    for one in values:
        finite = not isinstance(one, float) or math.isfinite(one)
        if not isinstance(one, str | int | float | bool) or not finite:
            raise UsageError(
                f"filter on {field!r}", f"{one!r} is not a text, a finite number or a truth value"
            )
    return values


def _number(field: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"filter on {field!r}", f"{value!r} is not a finite number")
    return number


def _from_text(text: str) -> Condition:
    match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise UsageError(
            f"filter {text!r}", "is none", "write field=value, field!=value, field=1..9 or field>=1"
        )
    field, op, value = match["field"], match["op"], match["value"].strip()
    if op in _BOUNDS:
        return Condition(field, **{_BOUNDS[op]: _number(field, value)})  # type: ignore[arg-type]
    if op == "=" and (bounds := re.fullmatch(r"(-?[\d.]*\d)?\.\.(-?[\d.]*\d)?", value)) and value != "..":
        low, high = (None if bound is None else _number(field, bound) for bound in bounds.groups())
        return Condition(field, gte=low, lte=high)
    choices = tuple(typed for choice in value.split("|") for typed in _typed(choice.strip()))
    return Condition(field, any_of=choices) if op == "=" else Condition(field, none_of=choices)


def _typed(text: str) -> tuple[Scalar, ...]:
    """Return what a text may stand for: "52" is also the number 52."""
    try:
        number = float(text)
    except ValueError:
        return (text,)
    return (text, number) if math.isfinite(number) else (text,)
