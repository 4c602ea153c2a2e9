"""A query and its hits as one picture, with names and scores."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from serupa.errors import SerupaError, UnavailableError, UsageError
from serupa.images.crop import Crop
from serupa.images.decoding import open_photo
from serupa.images.reading import Photo
from serupa.items import Hit

_PHOTO = (220, 275)
_GAP = 20
_CAPTION = 62
_PAPER, _INK, _QUIET, _ACCENT, _EMPTY = "#fbfaf8", "#1c1b1a", "#7a7671", "#b3402a", "#e8e5e0"
_PER_ROW = 5

# Looked for, in this order, when a name has letters that Pillow's own font lacks
_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "arial.ttf",
)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def write_sheet(
    file: str | Path, query: Photo, hits: Sequence[Hit], *, title: str = "Query", crop: Crop | None = None
) -> None:
    """Draw the query, then its hits in rows of five, each with its rank, name and similarity.

    Parameters
    ----------
    file : path
        Where to write; its ending says the format (.png, .jpg, .webp).
    query : path, bytes or binary file
        The photo that was searched with.
    hits : sequence of Hit
        What was found, nearest first.
    title : str
        What stands under the query.
    crop : Crop, optional
        The part that was searched with; the rest is shown faded.

    Raises
    ------
    SerupaError
        If the query cannot be read. A hit whose photo is gone is drawn as an empty frame.
    UsageError
        If the ending is that of no picture.
    UnavailableError
        If the file cannot be written.
    """
    columns = min(_PER_ROW, max(1, len(hits)))
    rows = max(1, math.ceil(len(hits) / _PER_ROW))
    cell_w, cell_h = _PHOTO[0] + _GAP, _PHOTO[1] + _CAPTION + _GAP
    left = cell_w + 2 * _GAP
    sheet = Image.new("RGB", (left + columns * cell_w + _GAP, rows * cell_h + 2 * _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.line([(left - _GAP, _GAP), (left - _GAP, sheet.height - _GAP)], fill=_EMPTY, width=1)
    _place(sheet, _query_picture(query, crop), (_GAP, _GAP), ["Query", title], accent=True)
    for index, hit in enumerate(hits):
        row, column = divmod(index, _PER_ROW)
        corner = (left + column * cell_w, _GAP + row * cell_h)
        _place(sheet, _hit_picture(hit), corner, [f"{hit.rank}   {hit.similarity:.4f}", hit.item.name])
    save_picture(sheet, file)


def save_picture(picture: Image.Image, file: str | Path) -> None:
    """Write a picture in the format that the file's ending says.

    Raises
    ------
    UsageError
        If the ending is that of no picture.
    UnavailableError
        If the file cannot be written.
    """
    try:
        picture.save(file)
    except ValueError:  # what Pillow calls an ending that it does not know
        raise UsageError(file, "its ending is that of no picture", "use .png, .jpg or .webp") from None
    except OSError as error:
        raise UnavailableError(file, f"cannot be written ({error.strerror or error})") from error


def _query_picture(query: Photo, crop: Crop | None) -> Image.Image:
    photo = open_photo(query, min_side=max(_PHOTO))
    if crop is not None:
        faded = Image.blend(photo, Image.new("RGB", photo.size, _PAPER), 0.65)
        box = crop.box(*photo.size)
        faded.paste(photo.crop(box), box[:2])
        ImageDraw.Draw(faded).rectangle(box, outline=_ACCENT, width=max(2, photo.width // 120))
        photo = faded
    return ImageOps.pad(photo, _PHOTO, color=_PAPER)


def _hit_picture(hit: Hit) -> Image.Image:
    try:
        return ImageOps.pad(open_photo(hit.item.image, min_side=max(_PHOTO)), _PHOTO, color=_PAPER)
    except SerupaError:
        empty = Image.new("RGB", _PHOTO, _EMPTY)
        ImageDraw.Draw(empty).text((12, 12), "photo not found", fill=_QUIET, font=_own_font(14))
        return empty


def _place(
    sheet: Image.Image, picture: Image.Image, corner: tuple[int, int], lines: list[str], accent: bool = False
) -> None:
    x, y = corner
    sheet.paste(picture, corner)
    draw = ImageDraw.Draw(sheet)
    if accent:
        draw.rectangle((x, y, x + _PHOTO[0] - 1, y + _PHOTO[1] - 1), outline=_ACCENT, width=2)
    for text, size, top, most, color in (
        (lines[0], 16, 8, 1, _ACCENT if accent else _INK),
        (lines[1], 14, 28, 2, _QUIET),
    ):
        font, letters = font_for(text, size)
        for number, line in enumerate(wrap(letters, font, _PHOTO[0], most)):
            draw.text((x, y + _PHOTO[1] + top + 17 * number), line, fill=color, font=font)


def wrap(text: str, font: Font, width: int, most: int) -> list[str]:
    """Break a name into at most ``most`` lines of ``width`` pixels, the last one cut with an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    shown = lines[:most]
    if len(lines) > most or font.getlength(shown[-1]) > width:
        while shown[-1] and font.getlength(shown[-1] + "\u2026") > width:
            shown[-1] = shown[-1][:-1]
        shown[-1] += "\u2026"
    return shown


def font_for(text: str, size: int) -> tuple[Font, str]:
    """Return a font of this machine that has all letters of a text, and the text.

    Where there is none, a letter that Pillow's own font lacks is written as its Unicode number, so that two
    names in such letters can still be told apart.
    """
    own = _own_font(size)
    lacking = _lacks(own, text)
    if not lacking:
        return own, text
    for font in _other_fonts(size):
        if not _lacks(font, text):
            return font, text
    return own, "".join(f"{ord(letter):X} " if letter in lacking else letter for letter in text)


def _own_font(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _other_fonts(size: int) -> list[Font]:
    fonts: list[Font] = []
    for name in _FONTS:
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return fonts


def _lacks(font: Font, text: str) -> set[str]:
    """Return the letters of a text that a font draws as it draws what no font has."""
    missing = bytes(font.getmask("\U0010ffff"))
    letters = set(text) - set(" \u00a0")
    return {letter for letter in letters if bytes(font.getmask(letter)) == missing}
