"""The page's texts: the same in every language, and none missing that the page asks for."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from serupa.web import texts

TEXTS = {code: texts.TEXTS[code] | texts.ADMIN_TEXTS[code] for code in texts.TEXTS}
WEB = Path(str(files("serupa.web")))
BUILT = re.compile(r"(field|metric|color|reason|own|kind|part)_|.*_(one|other|title|text)$")
"""Names that are put together of parts, and looked up with something to fall back on."""


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_every_language_has_every_text(code: str) -> None:
    english = TEXTS["en"]
    assert TEXTS[code].keys() == english.keys()
    for name, text in TEXTS[code].items():
        assert text.strip() == text != "", name
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", english[name])), name


def test_every_text_that_is_asked_for_exists_and_none_is_left_over() -> None:
    scripts = "".join(path.read_text() for path in sorted((WEB / "static" / "js").glob("*.js")))
    pages = "".join(p.read_text() for p in sorted((WEB / "templates").glob("*.html")))
    asked = set(re.findall(r"\bt\.(\w+)", pages)) | set(re.findall(r"""\bt\["(\w+)"\]""", pages))
    asked = (asked | set(re.findall(r"""\bt\(\s*"(\w+)\"""", scripts))) - {"get"}
    for choice in re.findall(r"""\bt\([^"()]+\? "(\w+)" : "(\w+)\"""", scripts):
        asked |= set(choice)
    assert len(asked) > 50
    assert not asked - TEXTS["en"].keys()
    left = {name for name in TEXTS["en"].keys() - asked if not BUILT.match(name)}
    assert not {name for name in left if f'"{name}"' not in scripts and f"].{name}" not in pages}
