"""The page's own files: compressed once, at addresses that change with what they hold."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serupa.web.problems import ProblemError

mimetypes.add_type("font/woff2", ".woff2")  # which Python 3.11 does not know
mimetypes.add_type("image/webp", ".webp")

_DIGITS = 12
_IMPORT = re.compile(r'^import [^"]*"\./([^"]+)";$', re.MULTILINE)
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    compressed: bytes
    media_type: str


class Assets:
    """An ASGI application that serves files, to be mounted where it is said to be.

    The first part of an address is a hash of all files: a browser keeps them for ever, and modules find each
    other by relative names. Without it, or with that of another version, an address is asked for each time.

    Parameters
    ----------
    files : mapping of str to bytes
        By name, which may have slashes.
    mounted : str
        Where: ``/static``.
    """

    def __init__(self, files: Mapping[str, bytes], mounted: str) -> None:
        self._mounted = mounted
        self._files = {
            name: _File(body, gzip.compress(body, mtime=0), mimetypes.guess_type(name)[0] or "text/plain")
            for name, body in sorted(files.items())
        }
        every = hashlib.blake2b(digest_size=_DIGITS // 2)
        for name, file in self._files.items():
            every.update(f"{name}\0{len(file.body)}\0".encode() + file.body)
        self._hash = every.hexdigest()

    def url(self, name: str) -> str:
        """Return the address of a file, for templates."""
        if name not in self._files:
            raise KeyError(name)
        return f"{self._mounted}/{self._hash}/{name}"

    def modules(self, entry: str) -> list[str]:
        """Return the addresses of a module and of all that it imports, for a page to name: one round trip."""
        found = [entry]
        for name in found:
            folder = name.rpartition("/")[0]
            for other in _IMPORT.findall(self._files[name].body.decode()):
                if f"{folder}/{other}" not in found:
                    found.append(f"{folder}/{other}")
        return [self.url(name) for name in found]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, compressed where the client can read that."""
        name = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        version, _, rest = name.partition("/")
        if len(version) == _DIGITS and rest:
            name = rest
        file = self._files.get(name)
        if file is None:
            await ProblemError(404, "there is no such file").response()(scope, receive, send)
            return
        asked = Headers(scope=scope)
        etag = f'"{self._hash}"'
        headers = {
            "Cache-Control": _FOREVER if version == self._hash else "no-cache",
            "ETag": etag,
            "Vary": "Accept-Encoding",
        }
        if asked.get("if-none-match") == etag:
            response = Response(status_code=304, headers=headers)
        elif "gzip" in asked.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            response = Response(file.compressed, headers=headers, media_type=file.media_type)
        else:
            response = Response(file.body, headers=headers, media_type=file.media_type)
        await response(scope, receive, send)


def _walked(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        found += _walked(entry, name + "/") if entry.is_dir() else [(name, entry.read_bytes())]
    return found


assets = Assets(dict(_walked(files("serupa.web") / "static")), "/static")
