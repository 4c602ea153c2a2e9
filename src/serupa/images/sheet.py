"""A query and its hits as one picture, with names and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from serupa.errors import CatalogError, ImageError
from serupa.images import Crop, Photo, open_photo
from serupa.items import Hit

_PHOTO = (220, 275)
_GAP = 20
_CAPTION = 62
_PAPER, _INK, _QUIET, _ACCENT, _EMPTY = "#fbfaf8", "#1c1b1a", "#7a7671", "#b3402a", "#e8e5e0"
_PER_ROW = 5


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
    ImageError
        If the query cannot be read. A hit whose photo is gone is drawn as an empty frame.
    CatalogError
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
    try:
        sheet.save(file)
    except (OSError, ValueError) as error:
        raise CatalogError(f"{file}: the sheet cannot be written ({error})") from error


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
    except ImageError:
        empty = Image.new("RGB", _PHOTO, _EMPTY)
        ImageDraw.Draw(empty).text((12, 12), "photo not found", fill=_QUIET, font=_font(14))
        return empty


def _place(
    sheet: Image.Image, picture: Image.Image, corner: tuple[int, int], lines: list[str], accent: bool = False
) -> None:
    x, y = corner
    sheet.paste(picture, corner)
    draw = ImageDraw.Draw(sheet)
    if accent:
        draw.rectangle((x, y, x + _PHOTO[0] - 1, y + _PHOTO[1] - 1), outline=_ACCENT, width=2)
    draw.text((x, y + _PHOTO[1] + 8), lines[0], fill=_ACCENT if accent else _INK, font=_font(16))
    for number, line in enumerate(_wrap(lines[1], _PHOTO[0], 2)):
        draw.text((x, y + _PHOTO[1] + 28 + 17 * number), line, fill=_QUIET, font=_font(14))


def _wrap(text: str, width: int, most: int) -> list[str]:
    """Break a name into at most ``most`` lines of ``width`` pixels, the last one cut with an ellipsis."""
    font, lines = _font(14), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    kept = lines[:most]
    if len(lines) > most or font.getlength(kept[-1]) > width:
        while kept[-1] and font.getlength(kept[-1] + "\u2026") > width:
            kept[-1] = kept[-1][:-1]
        kept[-1] += "\u2026"
    return kept


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
