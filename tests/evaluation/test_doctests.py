"""The examples in the docstrings say what the code does."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import serupa.evaluation
import serupa.paper

MODULES = sorted(
    f"{room.__name__}.{module.name}"
    for room in (serupa.evaluation, serupa.paper)
    for module in pkgutil.iter_modules(room.__path__)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    examples = [doctest.DocTestFinder().find(importlib.import_module(name)) for name in MODULES]
    assert sum(bool(test.examples) for tests in examples for test in tests) > 12
