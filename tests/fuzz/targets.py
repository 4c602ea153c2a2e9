"""What is fuzzed: each target takes any bytes, and may raise nothing but an error of ours, of one line."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serupa.encoders.checkpoint import read_checkpoint
from serupa.errors import SerupaError
from serupa.filters import as_filter
from serupa.images import Crop, open_photo
from serupa.sources import read_source
from serupa.storage.local.backend import LocalBackend

Target = Callable[[bytes], None]

_folder = Path(tempfile.mkdtemp(prefix="serupa-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: S108, PTH112


@contextlib.contextmanager
def ours() -> Iterator[None]:
    """Let errors of ours pass, if they are one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SerupaError as error:
        message = str(error)
        assert message, type(error)
        assert "\n" not in message, message
        message.encode()


def image(data: bytes) -> None:
    """Photos: the first byte says how it is decoded."""
    how = data[0] if data else 0
    with ours():
        crop = Crop(0.25, 0.25, 0.5, 0.5) if how & 1 else None
        photo = open_photo(data[1:], min_side=(None, 8, 64, 224)[how >> 1 & 3], crop=crop, max_pixels=10**6)
        assert photo.mode == "RGB"
        assert min(photo.size) >= 1


def checkpoint(data: bytes) -> None:
    """Weights: .safetensors."""
    file = _folder / "weights"
    file.write_bytes(data)
    with ours():
        arrays = read_checkpoint(file)
        # what a damaged file makes larger than itself would fill the memory
        assert sum(array.size for array in arrays.values()) <= 16 * max(1024, len(data))


def table(data: bytes) -> None:
    """Tables: the first byte chooses CSV, TSV, JSON Lines, XML, JSON or Parquet."""
    kinds = (".csv", ".tsv", ".jsonl", ".parquet", ".xml", ".json")
    file = _folder / f"table{kinds[data[0] % 6] if data else '.csv'}"
    file.write_bytes(data[1:])
    with ours():
        for item in read_source(file).items():
            json.dumps([item.id, item.image, item.product_id, dict(item.attributes)]).encode()


def filters(data: bytes) -> None:
    """Filters as texts, one a line, and as JSON; and crops."""
    text = data.decode("utf-8", "surrogateescape")
    with ours():
        as_filter(text.split("\n"))
    with ours():
        Crop.parse(text)
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
        if isinstance(value, dict | list):
            with ours():
                as_filter(value)


def settings(data: bytes) -> None:
    """A catalogue's catalog.json."""
    (_folder / "catalog.json").write_bytes(data)
    with ours():
        LocalBackend(_folder).load()


def backup(data: bytes) -> None:
    """Backups: the second of two layers is a tar archive, so most of what is made up is refused early."""
    from serupa.catalog.backup import verify

    (_folder / "backup").write_bytes(data)
    with ours():
        verify(_folder / "backup")


class Api:
    """The application, without a network: whatever it is sent, its answer is no 5xx and shows no path."""

    def __init__(self) -> None:
        import onnx

        from serupa import Catalog, Item
        from serupa.web.app import create_app
        from serupa.web.settings import Settings, key_sha256
        from tests.conftest import draw_photo
        from tests.encoders.conftest import CARD, tiny_model

        onnx.save(tiny_model(), _folder / "model.onnx")
        (_folder / "tiny.toml").write_text(CARD.replace("LAYOUT", "NCHW"))
        self._catalog = Catalog.create(_folder / "catalog", str(_folder / "tiny.toml"))
        photos = [draw_photo(_folder / "photos" / f"{n}.png", n, (32, 32)) for n in range(6)]
        self._catalog.add(
            [Item(f"i{n}", str(p), f"P{n % 2}", {"price": n, "color": "red"}) for n, p in enumerate(photos)]
        )
        self._key = "a-key-for-fuzzing-alone"
        chosen = Settings(api_key_sha256=key_sha256(self._key), time_limit_s=20.0)
        self._app = create_app(self._catalog, chosen)
        self._loop = asyncio.new_event_loop()
        self._lifespan = self._app.router.lifespan_context(self._app)
        self._loop.run_until_complete(self._lifespan.__aenter__())

    def __call__(self, data: bytes) -> None:
        """The first byte chooses the method and address, then comes a line with the rest of the address."""
        first, _, rest = data[1:].partition(b"\n")
        method, path = _ROUTES[data[0] % len(_ROUTES)] if data else _ROUTES[0]
        tail, _, query = first.decode("latin-1").partition("?")
        if path.endswith("/"):
            path += tail
        headers = [
            (b"host", b"shop"),
            (b"x-api-key", self._key.encode()),
            (b"content-type", b"multipart/form-data; boundary=x"),
            (b"content-length", str(len(rest)).encode()),
        ]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("utf-8", "replace"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        status, body = self._loop.run_until_complete(self._ask(scope, rest))
        assert status < 500, (method, path, query, body)
        assert str(_folder).encode() not in body, (method, path, body)

    async def _ask(self, scope: dict[str, Any], content: bytes) -> tuple[int, bytes]:
        waiting = [{"type": "http.request", "body": content, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await asyncio.wait_for(self._app(scope, receive, send), 30)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], body


_ROUTES = (
    ("POST", "/api/v1/search"),
    ("POST", "/api/v1/items"),
    ("POST", "/api/v1/explain"),
    ("GET", "/api/v1/items"),
    ("GET", "/api/v1/items/"),
    ("DELETE", "/api/v1/items/"),
    ("GET", "/api/v1/facets"),
    ("GET", "/"),
)

_api: list[Api] = []


def api(data: bytes) -> None:
    """Requests to the API and the page."""
    if not _api:
        import logging

        logging.disable(logging.CRITICAL)
        _api.append(Api())
    _api[0](data)


TARGETS: dict[str, Target] = {
    "image": image,
    "checkpoint": checkpoint,
    "table": table,
    "filters": filters,
    "settings": settings,
    "backup": backup,
    "api": api,
}


def seeds(name: str) -> Iterator[bytes]:
    """Yield small good inputs to start from: what is made at run time need not be kept as files."""
    if name == "image":
        yield from _photos()
    elif name == "checkpoint":
        yield from _checkpoints()
    elif name == "table":
        yield b"\0image,id,price,tags\na.jpg,1,2.5,red|blue\nb.jpg,2,,x\n"
        yield b'\1image\tname\na.jpg\t"x ""y"""\n'
        yield b'\2{"image": "a.jpg", "price": 3, "tags": ["a"], "sale": true}\n'
        yield b"\3" + _parquet()
    elif name == "filters":
        yield b"color=red|blue\nprice>=10\nprice=1..5\nname!=x"
        yield b'{"price": {"gte": 1, "lt": 5}, "color": ["a", "b"], "x": {"not": 1}}'
        yield b"0.1,0.2,0.5,0.6"
    elif name == "settings":
        yield _settings()
    elif name == "backup":
        yield from _backups()
    elif name == "api":
        yield from _requests()


def _photos() -> Iterator[bytes]:
    from PIL import Image, ImageCms

    picture = Image.radial_gradient("L").convert("RGB").resize((24, 16))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, (kind, options) in enumerate(
        (
            ("JPEG", {"quality": 50}),
            ("JPEG", {"progressive": True, "exif": exif, "icc_profile": profile}),
            ("PNG", {"icc_profile": profile}),
            ("WEBP", {"lossless": True}),
            ("GIF", {}),
            ("BMP", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("AVIF", {}),
        )
    ):
        out = io.BytesIO()
        picture.save(out, kind, **options)
        yield bytes([number]) + out.getvalue()


def _checkpoints() -> Iterator[bytes]:
    import numpy as np

    from tests.encoders import checkpoints

    arrays = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.int64)}
    yield checkpoints.write_safetensors(_folder / "seed", arrays).read_bytes()


def _parquet() -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return b""
    out = io.BytesIO()
    pq.write_table(pa.table({"image": ["a.jpg"], "price": [1.5]}), out)
    return out.getvalue()


def _settings() -> bytes:
    from serupa.encoders import load_card
    from serupa.storage.manifest import CatalogManifest, TuningInfo

    return CatalogManifest(
        card=load_card("efficientnet-lite0"),
        weights_sha256="0" * 64,
        metrics=("cosine",),
        fields={"price": "number"},
        tuning=TuningInfo(dimension=64, file="tuning-3.npz"),
        store="points-3",
    ).to_json()


def _backups() -> Iterator[bytes]:
    import hashlib
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = {"size": 9, "sha256": hashlib.sha256(b"abc").hexdigest(), "runs": [[3, 3]]}
        manifest = {
            "kind": "serupa backup 1",
            "created": "x",
            "catalog": "/c",
            "items": 1,
            "files": {"a/b": entry},
        }
        for name, data in (("a/b", b"abc"), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    yield out.getvalue()


def _requests() -> Iterator[bytes]:
    photo = next(_photos())[1:]

    def part(name: str, value: bytes, file: bytes = b"") -> bytes:
        return b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
            name.encode(),
            file,
            value,
        )

    end = b"--x--\r\n"
    sent = part("photo", photo, b'; filename="a.jpg"')
    asked = part("k", b"3") + part("where", b"color=red") + part("crop", b"0,0,1,1")
    yield b"\0\n" + sent + asked + end
    yield b"\1\n" + sent + part("id", b"new") + part("attributes", b'{"price": 3}') + end
    yield b"\2\n" + sent + part("item_id", b"i1") + end
    yield b"\3?where=price%3E=1&limit=2&offset=1\n"
    yield b"\4i1/similar?k=2&by=product\n"
    yield b"\4i1/image?size=160\n"
    yield b"\5i5\n"
    yield b"\6?where=color=red\n"
    yield b"\7?q=1\n"
