"""The kinds of image that can be read, by their names' endings and by their content."""

from __future__ import annotations

import re
from importlib.util import find_spec

ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "AVIF": (".avif",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "HEIC": (".heic", ".heif", ".hif"),
}
"""By kind. HEIC needs an extra, and a photo in it says so."""

_READ_HERE = {kind: ENDINGS[kind] for kind in ENDINGS if kind != "HEIC" or find_spec("pillow_heif")}
IMAGE_ENDINGS = frozenset(ending for endings in _READ_HERE.values() for ending in endings)
"""What the name of a photo that can be read ends in, in lower case."""

_OTHERS = """
.jxl .jp2 .j2k .jpx .psd .svg .eps .ai .tga .pcx .exr .hdr .raw .dng .cr2 .cr3 .crw
.nef .nrw .arw .srf .orf .rw2 .raf .pef .srw .x3f
"""
UNREADABLE_ENDINGS = frozenset((*_OTHERS.split(), *ENDINGS["HEIC"])) - IMAGE_ENDINGS
"""What the names of pictures end in that cannot be read here."""

READABLE = f"{', '.join([*ENDINGS][:-2])} or {[*ENDINGS][-2]}"
"""The kinds that need no extra, for people."""

_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", "JPEG"),
        (rb"\x89PNG\r\n\x1a\n", "PNG"),
        (rb"RIFF.{4}WEBP", "WebP"),
        (rb".{4}ftyp(?:.{4}){0,30}?avi[fs]", "AVIF"),
        (rb"GIF8[79]a", "GIF"),
        (rb"BM.{4}\0{4}", "BMP"),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
        (rb".{4}ftyp(?:.{4}){0,30}?(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", "HEIC"),
        (rb".{4}ftyp", "it looks like a video"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL: save it as JPEG first"),
        (rb"\0\0\0\x0cjP  ", "JPEG 2000: save it as JPEG first"),
        (rb"\0\0\x01\0", "it looks like an icon"),
        (rb"8BPS", "it looks like a Photoshop file"),
        (rb"%PDF", "it looks like a PDF"),
        (rb"%!PS", "it looks like PostScript"),
        (rb"PK\x03\x04|\x1f\x8b", "it looks like an archive"),
        (rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:svg|!doctype svg|(?:\?xml|!--).*<svg))", "SVG: save it as PNG first"),
        (rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body))", "it looks like a web page"),
        (rb"\0+\Z", "it holds nothing but zeros"),
        (rb"[^\x00-\x08\x0e-\x1a\x7f]*\Z", "it looks like text"),
        (rb"", "its content is of no known kind"),
    )
)


def kind_of(data: bytes) -> str:
    """Return the kind of an image, a key of `ENDINGS`, or a few words on what the data looks like instead."""
    return next(kind for pattern, kind in _SIGNATURES if pattern.match(data[:1024]))


def is_picture(data: bytes) -> bool:
    """Tell whether the first bytes of a file are those of a picture, readable or not."""
    return kind_of(data).partition(":")[0] in (*ENDINGS, "JPEG XL", "JPEG 2000")
