"""The exports of shop systems as data: which columns tell each, and what they are called here."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from serupa.sources import products
from serupa.sources.listing import Row, RowOrFailure, Rows, Table

_TAG = re.compile(r"<(?:[a-zA-Z/!][^<>]*)>")
_SPACE = re.compile(r"\s+")
_HIDDEN = re.compile(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->")


@dataclass(frozen=True, slots=True)
class Feed:
    """The format of a shop's export.

    Parameters
    ----------
    name : str
        What ``--feed`` calls it.
    title : str
        What people call it.
    marks : tuple of tuple of str
        The columns that tell it, all of one tuple; in small letters with ``_`` between words.
    columns : mapping of str to str
        Its columns to our names; the first that is filled counts where several have one name.
    products : callable
        Makes rows of one photo each out of its renamed rows: ``(table, rows, notes) -> rows``.
    keeps_others : bool
        Whether other columns become attributes, too.
    """

    name: str
    title: str
    marks: tuple[tuple[str, ...], ...]
    columns: Mapping[str, str]
    products: Callable[[Table, Rows, list[str]], Iterator[RowOrFailure]]
    keeps_others: bool = False
    texts: tuple[str, ...] = field(default=("name", "description", "short_description"))

    def rows(self, table: Table, wanted: Mapping[str, str], notes: list[str]) -> Iterator[RowOrFailure]:
        """Yield the rows of a table of this format, a photo each.

        Parameters
        ----------
        table : Table
        wanted : mapping of str to str
            Columns that were asked for besides, ours to the table's.
        notes : list of str
            Takes what a person should know.
        """
        extra = {theirs: ours for ours, theirs in wanted.items()}
        renamed = (self._renamed(row, extra) if isinstance(row, Row) else row for row in table.rows())
        return self.products(table, renamed, notes)

    def _renamed(self, row: Row, extra: Mapping[str, str]) -> Row:
        cells: dict[str, Any] = {}
        for theirs, value in row.cells.items():
            if value in (None, "", []):
                continue
            name = extra.get(theirs) or self.columns.get(plain_name(theirs))
            if name is None and (self.keeps_others or _numbered(theirs)):
                name = plain_name(theirs)
            if name is not None and (name not in cells or theirs in extra):
                cells[name] = text_of(value) if name in self.texts and isinstance(value, str) else value
        return Row(row.number, cells)


def _numbered(theirs: str) -> bool:
    """Tell whether a column is one of options or attributes, which `products` reads by number."""
    return re.match(r"(?i)(option|attribute) ?[0-9]+ (name|value)", theirs) is not None


def plain_name(column: str) -> str:
    """Return a column's name in small letters, words joined by ``_``, without ``g:``."""
    return re.sub(r"[\s_\-]+", "_", column.strip().casefold().removeprefix("g:"))


def text_of(markup: str) -> str:
    """Return HTML as plain text."""
    if "<" in markup:
        markup = _TAG.sub(" ", _HIDDEN.sub(" ", markup))
    return _SPACE.sub(" ", html.unescape(html.unescape(markup))).strip()


def feed_of(table: Table) -> Feed | None:
    """Return the format whose columns a table has; None for a plain table."""
    columns = {plain_name(column) for column in table.columns}
    return next(
        (feed for feed in FEEDS.values() if any(columns.issuperset(marks) for marks in feed.marks)), None
    )


_GOOGLE = Feed(
    "google",
    "a Google Merchant feed",
    marks=(("id", "image_link"), ("id", "title", "link", "price")),
    columns={
        "id": "id",
        "item_group_id": "product_id",
        "title": "name",
        "image_link": "image",
        "additional_image_link": "more_images",
        "additional_image_links": "more_images",
        "product_type": "category",
    },
    products=products.google,
    keeps_others=True,
)

_SHOPIFY = Feed(
    "shopify",
    "Shopify's product CSV",
    marks=(
        ("handle", "title", "image_src"),
        ("url_handle", "title", "product_image_url"),
        ("handle", "image_src", "variant_price"),
    ),
    columns={
        "handle": "handle",
        "url_handle": "handle",
        "title": "name",
        "body_(html)": "description",
        "body_html": "description",
        "description": "description",
        "vendor": "brand",
        "type": "category",
        "product_category": "category",
        "custom_product_type": "category",
        "tags": "tags",
        "published": "published",
        "published_on_online_store": "published",
        "status": "status",
        "variant_sku": "sku",
        "sku": "sku",
        "variant_price": "price",
        "price": "price",
        "variant_compare_at_price": "compare_at_price",
        "compare_at_price": "compare_at_price",
        "variant_barcode": "barcode",
        "barcode": "barcode",
        "image_src": "image",
        "product_image_url": "image",
        "image_position": "position",
        "variant_image": "variant_image",
        "variant_image_url": "variant_image",
    },
    products=products.shopify,
)

_SHOPIFY_JSON = Feed(
    "shopify-json",
    "Shopify's products.json",
    marks=(("handle", "variants", "images"),),
    columns={
        "handle": "handle",
        "title": "name",
        "body_html": "description",
        "vendor": "brand",
        "product_type": "category",
        "tags": "tags",
        "variants": "variants",
        "images": "images",
        "options": "options",
        "status": "status",
        "link": "link",
    },
    products=products.shopify_json,
)

_WOOCOMMERCE = Feed(
    "woocommerce",
    "WooCommerce's product CSV",
    marks=(("id", "type", "sku", "name", "images"), ("type", "name", "images", "regular_price")),
    columns={
        "id": "id",
        "type": "type",
        "sku": "sku",
        "gtin,_upc,_ean,_or_isbn": "gtin",
        "name": "name",
        "published": "published",
        "short_description": "short_description",
        "description": "description",
        "in_stock?": "in_stock",
        "regular_price": "price",
        "sale_price": "sale_price",
        "categories": "category",
        "brands": "brand",
        "tags": "tags",
        "images": "image",
        "parent": "parent",
        "external_url": "link",
    },
    products=products.woocommerce,
)

_MAGENTO = Feed(
    "magento",
    "Magento's product CSV",
    marks=(("sku", "attribute_set_code", "base_image"), ("sku", "product_type", "base_image")),
    columns={
        "sku": "sku",
        "store_view_code": "store_view_code",
        "product_type": "type",
        "categories": "category",
        "name": "name",
        "description": "description",
        "short_description": "short_description",
        "product_online": "product_online",
        "price": "price",
        "special_price": "sale_price",
        "url_key": "url_key",
        "base_image": "image",
        "additional_images": "more_images",
        "additional_attributes": "additional_attributes",
        "configurable_variations": "configurable_variations",
    },
    products=products.magento,
)

FEEDS: dict[str, Feed] = {
    feed.name: feed for feed in (_SHOPIFY_JSON, _SHOPIFY, _WOOCOMMERCE, _MAGENTO, _GOOGLE)
}
"""The formats by name; the first whose columns a table has is taken for its."""
