"""Rows of shop systems' exports to rows of a photo each: variants and photos of a product together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from serupa.items import Failure
from serupa.sources.listing import Row, RowOrFailure, Rows, Table
from serupa.sources.prices import parse_price

_BETWEEN_URLS = re.compile(r"\s*[|\n]\s*|[,;]?\s*(?=\b[A-Za-z][A-Za-z0-9+.-]+://)")
_BETWEEN_PATHS = re.compile(r"\s*[|\n]\s*|[,;]\s*(?=[^,;]*\.[A-Za-z]{3,4}\s*(?:$|[,;|\n]))")
_UNPUBLISHED = frozenset({"false", "0", "-1", "draft", "archived", "unlisted"})


@dataclass(slots=True)
class Variant:
    """One size and colour of a product."""

    options: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    photos: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Product:
    """A product with its photos, main one first, and its variants."""

    identity: str
    number: int
    values: dict[str, Any]
    photos: list[str]
    variants: list[Variant] = field(default_factory=list)

    def rows(self, table: Table) -> Iterator[RowOrFailure]:
        """Yield a row for each photo: of the product first, then of the variants that have their own.

        A variant's photo shows that variant: its options and price are the photo's. Other photos have the
        options of all variants and the lowest price.
        """
        own = {photo: self._with_photo(photo) for photo in self._all_photos()}
        if not own:
            yield table.failure(self.number, f"no photo of {self.identity!r}", self.identity)
            return
        for position, (photo, variants) in enumerate(own.items(), 1):
            yield Row(
                self.number,
                {
                    "id": photo_id(self.identity, position),
                    "product_id": self.identity,
                    "image": photo,
                    **self.values,
                    **_together(variants or self.variants),
                },
            )

    def _all_photos(self) -> list[str]:
        every = [*self.photos, *(photo for variant in self.variants for photo in variant.photos)]
        return list(dict.fromkeys(every))

    def _with_photo(self, photo: str) -> list[Variant]:
        return [variant for variant in self.variants if photo in variant.photos]


def photo_id(identity: str, position: int) -> str:
    """Return the id of a product's photo: the product's own for the main one."""
    return identity if position == 1 else f"{identity}#{position:02}"


def _together(variants: Sequence[Variant]) -> dict[str, Any]:
    """Return what variants say together: each option once, the lowest of prices, the first of all else."""
    together: dict[str, Any] = {}
    for variant in variants:
        for name, value in variant.options.items():
            values = together.setdefault(name, [])
            if value not in values:
                values.append(value)
        for name, value in variant.values.items():
            if name not in together or ("price" in name and _is_lower(value, together[name])):
                together[name] = value
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in together.items()
    }


def _is_lower(one: Any, other: Any) -> bool:
    amounts = [parse_price(str(value)) for value in (one, other)]
    values = [price.value(".") or price.value(",") if price else None for price in amounts]
    return values[0] is not None and values[1] is not None and values[0] < values[1]


def split_list(text: Any, separators: str = ",") -> list[str]:
    """Return the parts of a cell, or a list as it is."""
    if isinstance(text, list):
        return [str(part).strip() for part in text if part]
    return [part.strip() for part in re.split(f"[{re.escape(separators)}]", str(text or "")) if part.strip()]


def split_photos(text: Any) -> list[str]:
    """Return the photos of a cell, which commas, semicolons, bars or line breaks set apart."""
    if not isinstance(text, str):
        return split_list(text)
    separators = _BETWEEN_URLS if "://" in text else _BETWEEN_PATHS
    return [part.strip(" ,;") for part in separators.split(text.strip()) if part.strip(" ,;")]


def _is_unpublished(cells: Mapping[str, Any]) -> bool:
    return any(str(cells.get(name, "")).lower() in _UNPUBLISHED for name in ("published", "status"))


def _picked(cells: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: cells[name] for name in names if cells.get(name) not in (None, "", [])}


# --- Google Merchant


def google(table: Table, rows: Rows, notes: list[str]) -> Iterator[RowOrFailure]:
    """Read an offer a row; further photos that offers of a group share come once."""
    seen: set[int] = set()
    for row in rows:
        if isinstance(row, Failure):
            yield row
            continue
        cells = {name: _first(value) for name, value in row.cells.items() if name != "more_images"}
        identity = str(cells.get("id", ""))
        product = str(cells.get("product_id") or identity)
        cells["product_id"] = product
        more = [photo for part in _parts(row.cells.get("more_images")) for photo in split_photos(part)]
        main = str(cells.get("image") or "")
        if not main and more:
            main = cells["image"] = more.pop(0)
        yield Row(row.number, cells)
        seen.add(hash((product, main)))
        position = 1
        for photo in more:
            if hash((product, photo)) not in seen:
                seen.add(hash((product, photo)))
                position += 1
                yield Row(row.number, cells | {"id": photo_id(identity, position), "image": photo})


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value and all(isinstance(v, str) for v in value) else value


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


# --- Shopify

_SHOPIFY_VALUES = ("name", "description", "brand", "category")
_VARIANT_VALUES = ("price", "compare_at_price", "sku", "barcode")


def shopify(table: Table, rows: Rows, notes: list[str]) -> Iterator[RowOrFailure]:
    """Read a product from rows that follow one another with its handle: variants and photos in any mix."""
    unpublished = 0
    for handle, group in groupby(
        rows, key=lambda row: row.cells.get("handle") if isinstance(row, Row) else row
    ):
        members = list(group)
        if isinstance(handle, Failure):
            yield handle
            continue
        of_rows = [row for row in members if isinstance(row, Row)]
        first = of_rows[0]
        if handle is None:
            for row in of_rows:
                yield table.failure(row.number, "no handle; every row of a product has its handle")
        elif _is_unpublished(first.cells):
            unpublished += 1
        else:
            yield from _shopify_product(str(handle), of_rows).rows(table)
    if unpublished:
        notes.append(f"{unpublished} products are not published, and were left out")


def _shopify_product(handle: str, rows: Sequence[Row]) -> Product:
    photos = [row.cells for row in rows if row.cells.get("image")]
    photos.sort(key=lambda cells: _position(cells.get("position")))
    merged: dict[str, Any] = {}
    for row in rows:
        merged = {**_known_extras(row.cells), **merged}
    product = Product(handle, rows[0].number, merged, [str(cells["image"]) for cells in photos])
    if "tags" in rows[0].cells:
        product.values["tags"] = split_list(rows[0].cells["tags"])
    names: dict[int, str] = {}
    for row in rows:
        variant = _shopify_variant(row.cells, names)
        if variant.options or variant.values:
            product.variants.append(variant)
    return product


_SHOPIFY_KNOWN = frozenset(
    {"handle", "tags", "published", "status", "image", "position", "variant_image", *_VARIANT_VALUES}
)


def _known_extras(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of the product, with columns that were asked for by name."""
    return {n: v for n, v in cells.items() if n not in _SHOPIFY_KNOWN and not n.startswith("option")}


def _shopify_variant(cells: Mapping[str, Any], names: dict[int, str]) -> Variant:
    variant = Variant(values=_picked(cells, _VARIANT_VALUES))
    for number in (1, 2, 3):
        if name := cells.get(f"option{number}_name"):
            names[number] = str(name).strip().lower()
        value = cells.get(f"option{number}_value")
        if value and number in names and names[number] != "title":
            variant.options[names[number]] = str(value)
    if cells.get("variant_image"):
        variant.photos.append(str(cells["variant_image"]))
    return variant


def _position(value: Any) -> float:
    text = str(value or "").strip()
    return float(text) if re.fullmatch(r"\d{1,6}(?:\.\d*)?", text) else float("inf")


def shopify_json(table: Table, rows: Rows, notes: list[str]) -> Iterator[RowOrFailure]:
    """Read a product an object, as a shop's /products.json and the Admin API write it."""
    for row in rows:
        if isinstance(row, Failure):
            yield row
        elif _is_unpublished(row.cells):
            notes.append(f"{row.cells.get('handle')} is not published, and was left out")
        else:
            try:
                product = _shopify_object(row)
            except (AttributeError, KeyError, TypeError, ValueError):
                yield table.failure(row.number, "not a product as Shopify writes it")
                continue
            yield from product.rows(table)


def _shopify_object(row: Row) -> Product:
    cells = row.cells
    images = sorted(cells.get("images") or [], key=lambda image: _position(image.get("position")))
    sources = {image.get("id"): str(image["src"]) for image in images if image.get("src")}
    photos = [str(image["src"]) for image in images if image.get("src")]
    values = _picked(cells, (*_SHOPIFY_VALUES, "link"))
    if tags := split_list(cells.get("tags")):
        values["tags"] = tags
    product = Product(str(cells["handle"]), row.number, values, photos)
    names = [str(option["name"]).lower() for option in cells.get("options") or []]
    for given in cells.get("variants") or []:
        variant = Variant(values=_picked(given, ("price", "compare_at_price", "sku")))
        for position, name in enumerate(names, 1):
            if given.get(f"option{position}") and name != "title":
                variant.options[name] = str(given[f"option{position}"])
        featured = given.get("featured_image") or {}
        photo = featured.get("src") or sources.get(given.get("image_id"))
        if photo:
            variant.photos.append(str(photo))
        product.variants.append(variant)
    return product


# --- WooCommerce


def woocommerce(table: Table, rows: Rows, notes: list[str]) -> Iterator[RowOrFailure]:
    """Read a product a row, its variations in rows of their own that name it as their parent."""
    every = list(rows)
    variations: dict[str, list[Row]] = {}
    for row in every:
        if isinstance(row, Row) and _is_variation(row):
            variations.setdefault(_parent_key(row.cells.get("parent")), []).append(row)
    unpublished = 0
    for row in every:
        if isinstance(row, Failure):
            yield row
        elif not _is_variation(row) and _is_unpublished(row.cells):
            unpublished += 1
            for key in _own_keys(row):
                variations.pop(key, None)
        elif not _is_variation(row):
            own = [one for key in _own_keys(row) for one in variations.pop(key, [])]
            own.sort(key=lambda variation: variation.number)
            yield from _woocommerce_product(row, own).rows(table)
    for parent, orphans in variations.items():
        for row in orphans:
            problem = f"a variation of {parent!r}, which the table does not have"
            yield table.failure(row.number, problem, str(row.cells.get("id", "")))
    if unpublished:
        notes.append(f"{unpublished} products are not published, and were left out")


def _is_variation(row: Row) -> bool:
    return "variation" in split_list(str(row.cells.get("type", "")).lower())


def _parent_key(parent: Any) -> str:
    return str(parent or "").strip()


def _own_keys(row: Row) -> list[str]:
    keys = [f"id:{row.cells['id']}"] if "id" in row.cells else []
    return [*keys, str(row.cells["sku"])] if row.cells.get("sku") else keys


def _woocommerce_product(row: Row, variations: Sequence[Row]) -> Product:
    cells = row.cells
    identity = str(cells.get("sku") or cells.get("id") or cells.get("name"))
    dropped = {"id", "type", "published", "image", "parent", "tags", "category", "short_description"}
    values = {n: v for n, v in cells.items() if n not in dropped and not n.startswith("attribute")}
    if "description" not in values and "short_description" in cells:
        values["description"] = cells["short_description"]
    categories = split_list(cells.get("category"))
    if categories:
        values["category"] = max(categories, key=lambda category: category.count(">"))
    if tags := split_list(cells.get("tags")):
        values["tags"] = tags
    if not variations:
        values |= _woocommerce_attributes(cells)
    product = Product(identity, row.number, values, split_photos(cells.get("image")))
    for variation in variations:
        options = {
            n: v if isinstance(v, str) else v[0] for n, v in _woocommerce_attributes(variation.cells).items()
        }
        own = _picked(variation.cells, ("price", "sale_price"))
        product.variants.append(Variant(options, own, split_photos(variation.cells.get("image"))))
    if variations:
        for name, value in _woocommerce_attributes(cells).items():
            if not any(name in variant.options for variant in product.variants):
                product.values[name] = value
    return product


def _woocommerce_attributes(cells: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for column, name in cells.items():
        match = re.fullmatch(r"attribute_(\d+)_name", column)
        values = split_list(cells.get(f"attribute_{match[1]}_value(s)")) if match else []
        if values:
            attributes[str(name).strip().lower()] = values[0] if len(values) == 1 else values
    return attributes


# --- Magento


def magento(table: Table, rows: Rows, notes: list[str]) -> Iterator[RowOrFailure]:
    """Read a product a row; what a configurable one is made of are its variants, wherever they stand."""
    every = [row for row in rows if isinstance(row, Failure) or not row.cells.get("store_view_code")]
    by_sku = {str(row.cells.get("sku")): row for row in every if isinstance(row, Row)}
    children = {
        sku for row in by_sku.values() for sku in _variations(row.cells.get("configurable_variations"))
    }
    offline = 0
    for row in every:
        if isinstance(row, Failure):
            yield row
        elif not row.cells.get("sku"):
            yield table.failure(row.number, "no sku")
        elif str(row.cells.get("product_online", "1")) in ("0", "2"):
            offline += str(row.cells["sku"]) not in children
        elif str(row.cells["sku"]) not in children:
            yield from _magento_product(row, by_sku).rows(table)
    if offline:
        notes.append(f"{offline} products are not online, and were left out")


def _variations(text: Any) -> dict[str, dict[str, str]]:
    """Return the options of variants by SKU, of ``sku=A-S,size=S|sku=A-M,size=M``."""
    variations = {}
    for part in str(text or "").split("|"):
        options = _pairs(part)
        sku = options.pop("sku", None)
        if sku:
            variations[sku] = options
    return variations


def _pairs(text: Any) -> dict[str, str]:
    """Return ``name=value`` pairs; a comma within a value has no name behind it."""
    pairs: dict[str, str] = {}
    for match in re.finditer(r"(?:^|,)\s*([\w]+)=((?:(?!,\s*[\w]+=).)*)", str(text or ""), re.DOTALL):
        pairs[match[1]] = match[2].strip().strip('"')
    return pairs


def _magento_photos(cells: Mapping[str, Any]) -> list[str]:
    main = [str(cells["image"])] if cells.get("image") and cells["image"] != "no_selection" else []
    return list(dict.fromkeys([*main, *split_photos(cells.get("more_images"))]))


_MAGENTO_DROPPED = frozenset(
    {
        "type", "store_view_code", "product_online", "image", "more_images", "additional_attributes",
        "configurable_variations", "category", "short_description",
    }
)  # fmt: skip


def _magento_product(row: Row, by_sku: Mapping[str, Row]) -> Product:
    cells = row.cells
    attributes = {
        name: value.split("|") if "|" in value else value
        for name, value in _pairs(cells.get("additional_attributes")).items()
        if value and name not in ("id", "product_id", "image")
    }
    values = attributes | {name: value for name, value in cells.items() if name not in _MAGENTO_DROPPED}
    if "description" not in values and "short_description" in cells:
        values["description"] = cells["short_description"]
    categories = split_list(cells.get("category"))
    if categories:
        values["category"] = max(categories, key=lambda category: category.count("/"))
    product = Product(str(cells["sku"]), row.number, values, _magento_photos(cells))
    for sku, options in _variations(cells.get("configurable_variations")).items():
        child = by_sku.get(sku)
        own = _picked(child.cells, ("price", "sale_price")) if child else {}
        product.variants.append(Variant(options, own, _magento_photos(child.cells) if child else []))
    return product
