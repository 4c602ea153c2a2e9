"""The contact sheet: every name can be read, or at least told from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from serupa import Hit, Item
from serupa.errors import UnavailableError, UsageError
from serupa.images import sheet
from serupa.images.sheet import write_sheet
from tests.conftest import draw_photo


def drawn(folder: Path, name: str) -> bytes:
    photo = draw_photo(folder / "a.png", 1)
    item = Item("a", str(photo), attributes={"name": name})
    write_sheet(folder / "sheet.png", photo, [Hit(1, item, 0.1, 0.9)])
    return (folder / "sheet.png").read_bytes()


@pytest.mark.parametrize("fonts_here", [True, False])
@pytest.mark.parametrize("names", [("Футболка", "Кроссовки"), ("连衣裙", "牛仔裤")])
def test_letters_that_pillows_font_lacks(
    tmp_path: Path, names: tuple[str, str], fonts_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fonts_here:
        monkeypatch.setattr(sheet, "_other_fonts", lambda _: [])
    one, two = (drawn(tmp_path, name) for name in names)
    assert one != two


def test_a_sheet_that_cannot_be_written(tmp_path: Path) -> None:
    photo = draw_photo(tmp_path / "a.png", 1)
    with pytest.raises(UsageError):
        write_sheet(tmp_path / "sheet.nothing", photo, [])
    with pytest.raises(UnavailableError):
        write_sheet(tmp_path / "none" / "sheet.png", photo, [])
