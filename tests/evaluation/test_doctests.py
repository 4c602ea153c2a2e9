"""The examples in the docstrings of the evaluation room say what the code does."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import serupa.evaluation

MODULES = sorted(found.name for found in pkgutil.iter_modules(serupa.evaluation.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"serupa.evaluation.{name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    assert {"measures", "intervals", "protocol", "ranking", "selection"} <= set(MODULES)
