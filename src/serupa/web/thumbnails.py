"""Small versions of the catalogue's photos, kept on disk as long as there is room."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from serupa.files.cache import discard, write_whole
from serupa.images import read_bytes, thumbnail

SIZES = (160, 320, 480, 640, 960, 1280)
"""Long sides that are made, in pixels; what is asked for is rounded up."""

_ENDINGS = (".jpg", ".webp")
_WEBP_QUALITY = 78  # looks like a JPEG of 85 at two thirds of its bytes

_MAKER = "2"  # raised when the same photo gives other bytes: it is a part of every name and ETag
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """Which thumbnail: its entity tag and the name of its file, both say the photo's content."""

    etag: str
    name: str


class Thumbnails:
    """Makes thumbnails and keeps them in a folder of bounded size, the least recently used going first.

    A file's name is the hash of the photo's content and the size, so that a photo that changes gets another
    one, and several servers may share the folder.

    Parameters
    ----------
    folder : Path
        Where they are kept; made when the first one is written.
    limit : int
        Bytes that they may take.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._total = 0
        self._contents: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()
        files = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                if entry.name.endswith(_ENDINGS) and not entry.name.startswith("."):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, entry.name, status.st_size))
        for _, name, size in sorted(files):
            self._note(name, size)

    def identify(self, photo: str, size: int, *, webp: bool = False) -> Thumbnail:
        """Return which thumbnail a photo has at a size, as WebP or JPEG, without making it.

        Raises
        ------
        SerupaError
            If the photo cannot be read.
        """
        side = next((one for one in SIZES if one >= size), SIZES[-1])
        name = f"{self._content(photo)}-{side}-{_MAKER}{'.webp' if webp else '.jpg'}"
        return Thumbnail(f'"{name}"', name)

    def read(self, photo: str, wanted: Thumbnail) -> tuple[bytes, bool]:
        """Return the bytes of a thumbnail, and whether they were kept.

        Raises
        ------
        SerupaError
            If the photo cannot be read.
        """
        path = self._folder / wanted.name
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            os.utime(path)  # so that the order of use is known after a restart, too
            self._note(wanted.name, len(data))
            return data, True
        webp = wanted.name.endswith(".webp")
        quality = _WEBP_QUALITY if webp else 85
        data = thumbnail(read_bytes(photo), int(wanted.name.split("-")[1]), quality=quality, webp=webp)
        if write_whole(path, data):
            self._note(wanted.name, len(data))
        return data, False

    def _content(self, photo: str) -> str:
        """Return the hash of a file's bytes; remembered until its size or time of change is another."""
        try:
            status = os.stat(photo)  # noqa: PTH116 -- any text may stand here, also what is no path
            identity = (photo, status.st_size, status.st_mtime_ns, status.st_ino)
        except (OSError, ValueError):
            identity = (photo, 0, 0, 0)  # read_bytes says what is wrong
        with self._lock:
            if identity in self._contents:
                self._contents.move_to_end(identity)
                return self._contents[identity]
        content = hashlib.blake2b(read_bytes(photo), digest_size=16).hexdigest()
        with self._lock:
            self._contents[identity] = content
            if len(self._contents) > _REMEMBERED:
                self._contents.popitem(last=False)
        return content

    def _note(self, name: str, size: int) -> None:
        """Note that a file is there and in use; delete the oldest while there are too many bytes."""
        with self._lock:
            self._total += size - self._kept.pop(name, 0)
            self._kept[name] = size
            going = []
            while self._total > self._limit and len(self._kept) > 1:
                oldest, its_size = self._kept.popitem(last=False)
                self._total -= its_size
                going.append(oldest)
        for oldest in going:
            discard(self._folder / oldest)
