"""Takes metadata out of an image file before a decoder sees it.

A decoder stumbles over texts, profiles and checksums that no pixel depends on, and Pillow reads them piece by
piece in Python: a file made of nothing else would keep a processor busy for a minute. What is left is the
orientation and the colour profile, given beside the file, and what pixels need.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from itertools import count

MAX_PROFILE_BYTES = 4 * 2**20

_MOST_PARTS = 100_000  # chunks or segments: the largest files that encoders write have some thousands
# As libjpeg finds it: fill bytes, zeros that follow an FF in a scan, and restarts are passed over
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_AVIF_EXIF = re.compile(rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL)
_MOST_TAGS, _LARGEST_PALETTE = 4096, 3 * 2**16
_PRIVATE, _BYTES = 32_768, (1, 2, 6, 7)
_NO_LENGTH = (0x01, 0xD8)  # TEM and SOI stand alone
_KEPT_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


class TooManyPartsError(Exception):
    """A file of more parts than any encoder writes."""


@dataclass(frozen=True, slots=True)
class Stripped:
    """An image file without metadata.

    Parameters
    ----------
    data : bytes
        The file that a decoder is given.
    exif, profile : bytes, optional
        What it had; None also where the kind keeps it so that it does no harm.
    scans : int
        How often a JPEG goes over its pixels; 1 for other kinds.
    white_is_zero : bool
        Whether a TIFF's grey levels are those of a negative, and the decoder was not told.
    """

    data: bytes
    exif: bytes | None = None
    profile: bytes | None = None
    scans: int = 1
    white_is_zero: bool = False


def strip(data: bytes, kind: str) -> Stripped:
    """Take the metadata out of a file of a kind (`serupa.images.kinds`).

    Raises
    ------
    EOFError
        If the file is cut short.
    TooManyPartsError
        If it is made of more parts than can be looked at.
    """
    match kind:
        case "JPEG":
            return _strip_jpeg(data)
        case "PNG":
            return _strip_png(data)
        case "GIF":
            return Stripped(_strip_gif(data))
        case "TIFF":
            return _strip_tiff(data)
        case "AVIF":  # libavif refuses a file for its EXIF; what turns the photo is elsewhere in it
            return Stripped(_AVIF_EXIF.sub(rb"\1free", data, count=1))
    return Stripped(data)


def _strip_jpeg(data: bytes) -> Stripped:
    pieces, exif, profile = [data[:2]], None, {}
    position, scans = 2, 0
    for parts in count():
        match = _MARKER.search(data, position)
        marker = data[match.end() - 1] if match is not None else 0xD9
        if match is None or marker == 0xD9:  # the end of the image
            break
        if parts > _MOST_PARTS:
            raise TooManyPartsError
        start, position = match.start(), match.end()
        if marker in _NO_LENGTH:
            continue
        position += int.from_bytes(data[position : position + 2], "big")
        if marker == 0xDA:
            if not scans:
                pieces.append(data[start:])
            scans += 1
        elif not scans:
            body = data[start + 4 : position]
            if marker == 0xE1 and body.startswith(b"Exif\0\0"):
                exif = exif or body
            elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
                profile[body[12:13]] = body[14:]
            elif _is_needed(marker, body):
                pieces.append(data[start:position])
    joined = b"".join(part for _, part in sorted(profile.items()))
    return Stripped(b"".join(pieces) if scans else data, exif, joined or None, max(1, scans))


def _is_needed(marker: int, body: bytes) -> bool:
    """Tell whether a JPEG's segment is: of the applications', those that say what its colours are."""
    if marker == 0xE0:
        return body.startswith(b"JFIF\0") and len(body) >= 14
    if marker == 0xEE:
        return body.startswith(b"Adobe") and len(body) >= 12
    return marker != 0xFE and not 0xE0 <= marker <= 0xEF


def _strip_png(data: bytes) -> Stripped:
    pieces, exif, profile = [data[:8]], None, None
    position, name = 8, b""
    for parts in count():
        if parts > _MOST_PARTS:
            raise TooManyPartsError
        if name == b"IEND":
            return Stripped(b"".join(pieces), exif, profile)
        length, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            raise EOFError
        critical = not name[0] & 0x20
        if critical or name in (b"tRNS", b"eXIf", b"iCCP"):
            body = data[position + 8 : end - 4]
            if critical or zlib.crc32(name + body) == int.from_bytes(data[end - 4 : end], "big"):
                if name in _KEPT_CHUNKS:
                    pieces.append(data[position:end])
                elif name == b"eXIf":
                    exif = b"Exif\0\0" + body
                elif name == b"iCCP":
                    profile = _unpacked(body.partition(b"\0")[2][1:])
        position = end
    raise EOFError


def _unpacked(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data, MAX_PROFILE_BYTES)
    except zlib.error:
        return None


def _strip_gif(data: bytes) -> bytes:
    """Leave out comments and what applications wrote before the first frame; how it is drawn stays."""
    palette = 3 * (2 << (data[10] & 7)) if len(data) > 10 and data[10] & 0x80 else 0
    position = 13 + palette
    pieces, parts = [data[:position]], 0
    while data[position : position + 1] == b"!":
        start, needed = position, data[position + 1 : position + 2] == b"\xf9"
        position += 2
        while (size := int.from_bytes(data[position : position + 1], "big")) and parts <= _MOST_PARTS:
            position += 1 + size
            parts += 1
        if parts > _MOST_PARTS:
            raise TooManyPartsError
        position += 1
        if needed:
            pieces.append(data[start:position])
    return b"".join([*pieces, data[position:]])


def _strip_tiff(data: bytes) -> Stripped:
    """Refuse a TIFF whose tags hold more than Pillow can list in a moment, and see to white that is zero.

    Pillow heeds that in images of 8 bits; those of more are read wrong, or not at all.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, entry, number = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    places = {}
    try:
        (start,) = struct.unpack_from(order + number, data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + head, data, start)
        start += struct.calcsize(head)
        if entries > _MOST_TAGS:
            raise TooManyPartsError
        for index in range(entries):
            place = start + index * (20 if big else 12)
            tag, width, values = struct.unpack_from(order + entry, data, place)
            # Strips, tiles, colours and the like; tags from there on are metadata, which Pillow lets lie
            most = _LARGEST_PALETTE if tag == 320 else _MOST_PARTS
            if tag < _PRIVATE and width not in _BYTES and values > most:
                raise TooManyPartsError
            if tag in (258, 262) and values == 1:  # bits a sample, what they mean
                places[tag] = place + struct.calcsize(order + entry), order + ("H" if width == 3 else "I")
        values_of = {tag: struct.unpack_from(kind, data, place)[0] for tag, (place, kind) in places.items()}
    except (struct.error, OverflowError):
        raise EOFError from None
    if values_of.get(262) != 0 or values_of.get(258, 1) <= 8:
        return Stripped(data)
    changed = bytearray(data)
    place, kind = places[262]
    struct.pack_into(kind, changed, place, 1)
    return Stripped(bytes(changed), white_is_zero=True)
