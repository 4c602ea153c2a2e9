"""Tables at addresses: a copy is read; name, media type or first bytes tell what kind it is."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from serupa.errors import InvalidInputError, UnavailableError
from serupa.files.http import fetch, is_http
from serupa.files.urls import open_system
from serupa.sources.listing import Table
from serupa.sources.table import TABLES, open_table

_LARGEST_TABLE = 4 * 2**30
_TABLE_TIMEOUT_S = 600.0
_PAGE = 250  # products, the most that Shopify gives at once
_MEDIA_TYPES = {
    "csv": ".csv",
    "tab-separated": ".tsv",
    "ndjson": ".jsonl",
    "jsonl": ".jsonl",
    "json": ".json",
    "xml": ".xml",
    "rss": ".xml",
    "parquet": ".parquet",
}


def local_path(url: str) -> str | None:
    """Return the path of a ``file://`` address, whose letters may be percent-encoded; None for any other."""
    if url[:7].lower() != "file://" or "::" in url:
        return None
    return url2pathname(urlsplit(url).path)


def is_remote_table(url: str) -> bool:
    """Tell whether an address is one of a table: it is named so, or it is a page of the web."""
    return _ending(url) in TABLES or is_http(url)


def remote_table(url: str, folder: Path) -> Table:
    """Copy a table into a folder and open it.

    Raises
    ------
    NotFoundError, UnavailableError
        If it cannot be had.
    InvalidInputError
        If it is no table.
    """
    name = url.partition("?")[0]
    if PurePosixPath(name).name == "products.json" and is_http(url):
        return open_table(_all_products(url, folder), name)
    if is_http(url):
        return open_table(_downloaded(url, folder), name)
    copy = folder / f"table{_ending(url)}"
    try:
        system, path = open_system(url)
        system.get_file(path, str(copy))
    except Exception as error:  # each file system has exceptions of its own
        raise UnavailableError(url, str(error) or type(error).__name__) from None
    return open_table(copy, name)


def _ending(url: str) -> str:
    return PurePosixPath(url.partition("?")[0].partition("#")[0]).suffix.lower()


def _downloaded(url: str, folder: Path) -> Path:
    fetched = fetch(url, _LARGEST_TABLE, timeout_s=_TABLE_TIMEOUT_S)
    data = fetched.data or b""
    start = data[:512].lstrip(b"\xef\xbb\xbf \r\n\t")
    if start[:5].lower() in (b"<html", b"<!doc"):
        raise InvalidInputError(url, "a web page, not a table")
    ending = _ending(url)
    if ending not in TABLES:
        said = fetched.kind.lower()
        ending = next((kind for name, kind in _MEDIA_TYPES.items() if name in said), "")
    if not ending:
        ending = ".xml" if start.startswith(b"<") else ".json" if start[:1] in b"{[" else ".csv"
    copy = folder / f"table{ending}"
    copy.write_bytes(data)
    return copy


def _all_products(url: str, folder: Path) -> Path:
    """Write all pages of a Shopify shop's products, each with its address in the shop, a line a product."""
    parts = urlsplit(url)
    shop = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('.json')}"
    copy = folder / "products.jsonl"
    with copy.open("w", encoding="utf-8") as file:
        page, first = 1, ""
        while products := _products(url, urlunsplit(parts._replace(query=f"limit={_PAGE}&page={page}"))):
            identity = json.dumps(products[0].get("id"))
            if identity == first:  # a plain file, which knows no pages
                break
            first = first or identity
            for product in products:
                product.setdefault("link", f"{shop}/{product.get('handle', '')}")
                file.write(json.dumps(product) + os.linesep)
            page += 1
    return copy


def _products(url: str, page: str) -> list[dict[str, object]]:
    data = fetch(page, _LARGEST_TABLE, timeout_s=_TABLE_TIMEOUT_S).data or b""
    try:
        products = json.loads(data)["products"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidInputError(url, "not the products of a Shopify shop") from None
    if not (isinstance(products, list) and all(isinstance(product, dict) for product in products)):
        raise InvalidInputError(url, "not the products of a Shopify shop")
    return products
