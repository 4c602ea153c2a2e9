"""The exports of shop systems, with the oddities of real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serupa.errors import UsageError
from serupa.items import Item
from tests.sources.made import csv_table, failures, listing, photos, read, table

CDN = "https://cdn.example/s/files/1"


def by_id(items: list[Item]) -> dict[str, Item]:
    return {item.id: item for item in items}


# --- Google Merchant

GOOGLE = [
    ["id", "title", "description", "link", "image link", "additional image link", "price", "sale_price",
     "availability", "item_group_id", "color", "size", "gtin", "google_product_category", "product_type", ""],
    ["TEE-S", "Tee &amp; more", "<p>Soft <b>cotton</b>.</p>", "https://shop.example/tee?v=1", f"{CDN}/tee.jpg",
     f"{CDN}/tee-2.jpg,{CDN}/tee-3.jpg?w=1,2", "1,299.00 USD", "999.00 USD", "in_stock", "TEE", "Black/White", "S",
     "0012345678905", "212", "Clothing > Tops", ""],
    ["TEE-M", "Tee &amp; more", "Soft cotton.", "https://shop.example/tee?v=2", f"{CDN}/tee.jpg",
     f"{CDN}/tee-2.jpg", "1,299.00 USD", "", "out_of_stock", "TEE", "Black/White", "M", "", "212",
     "Clothing > Tops", ""],
    ["HAT", "Hat", "", "https://shop.example/hat", f"{CDN}/hat.jpg", "", "19.99 USD", "", "in stock", "", "Red", "",
     "", "173", "Hats", ""],
    ["NO-PHOTO", "Ghost", "", "https://shop.example/ghost", "", "", "1.00 USD", "", "in stock", "", "", "", "", "",
     "", ""],
]  # fmt: skip


def test_google_merchant(tmp_path: Path) -> None:
    path = csv_table(tmp_path / "feed.tsv", GOOGLE, "\t")
    items = by_id(list(listing(path).items()))
    assert list(items) == ["TEE-S", "TEE-S#02", "TEE-S#03", "TEE-M", "HAT"]
    tee = items["TEE-S"]
    assert (tee.product_id, tee.image) == ("TEE", f"{CDN}/tee.jpg")
    assert tee.attributes == {
        "name": "Tee & more", "description": "Soft cotton .", "link": "https://shop.example/tee?v=1",
        "price": 1299.0, "sale_price": 999.0, "currency": "USD", "availability": "in_stock",
        "color": "Black/White", "size": "S", "gtin": "0012345678905", "google_product_category": 212,
        "category": "Clothing > Tops",
    }  # fmt: skip
    assert items["TEE-S#03"].image == f"{CDN}/tee-3.jpg?w=1,2"
    assert items["HAT"].product_id == "HAT"
    (reason,) = failures(path)
    assert "line 5" in reason and "no image" in reason


def test_google_merchant_as_xml(tmp_path: Path) -> None:
    text = f"""<?xml version="1.0"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>A shop</title><link>https://shop.example</link>
<item><g:id>TEE-S</g:id><title><![CDATA[Tee & more]]></title><g:description>&lt;p&gt;Soft&lt;/p&gt;</g:description>
<link>https://shop.example/tee?a=1&amp;b=2</link><g:image_link>{CDN}/tee.jpg</g:image_link>
<g:additional_image_link>{CDN}/tee-2.jpg</g:additional_image_link>
<g:additional_image_link>{CDN}/tee-3.jpg</g:additional_image_link>
<g:price>1.299,00 EUR</g:price><g:item_group_id>TEE</g:item_group_id>
<g:shipping><g:country>DE</g:country><g:price>4,95 EUR</g:price></g:shipping></item>
<item><g:id>7</g:id><title>Hat</title><link>https://shop.example/hat</link>
<g:image_link>{CDN}/hat.jpg</g:image_link><g:price>15,00 EUR</g:price></item>
</channel></rss>"""
    items = by_id(read(table(tmp_path / "feed.xml", text)))
    assert list(items) == ["TEE-S", "TEE-S#02", "TEE-S#03", "7"]
    assert items["TEE-S"].attributes == {
        "name": "Tee & more", "description": "Soft", "link": "https://shop.example/tee?a=1&b=2",
        "price": 1299.0, "currency": "EUR",
    }  # fmt: skip
    assert items["7"].attributes["price"] == 15.0
    atom = f"""<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><entry><g:id>1</g:id>
<title>Hat</title><link href="https://shop.example/hat"/><g:image_link>{CDN}/hat.jpg</g:image_link></entry></feed>"""
    (hat,) = read(table(tmp_path / "atom.xml", atom))
    assert (hat.id, hat.attributes["link"]) == ("1", "https://shop.example/hat")


# --- Shopify

SHOPIFY = """Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,\
Variant SKU,Variant Price,Variant Compare At Price,Image Src,Image Position,Variant Image,Status,
tee,Tee,"<p>Soft &amp; <b>warm</b></p>",Acme,Tops,"cotton, summer",TRUE,Size,S,Color,Black,007-S,29.00,39.00,\
CDN/b.jpg?v=2,2,CDN/black.jpg,active,
tee,,,,,,,,M,,Black,007-M,25.00,,CDN/a.jpg?v=1,1,CDN/black.jpg,,
tee,,,,,,,,S,,White,,29.00,,,,CDN/white.jpg,,
tee,,,,,,,,,,,,,,CDN/c.jpg,3,,,
hat,Hat,,Acme,Hats,,TRUE,Title,Default Title,,,HAT-1,15.00,,CDN/hat.jpg,1,,active,
draft,Draft,,Acme,Hats,,FALSE,Title,Default Title,,,D-1,15.00,,CDN/draft.jpg,1,,draft,
ghost,Ghost,,Acme,Hats,,TRUE,Title,Default Title,,,G-1,15.00,,,,,active,
""".replace("CDN", CDN)


def test_shopify(tmp_path: Path) -> None:
    path = table(tmp_path / "products_export.csv", SHOPIFY)
    found = listing(path)
    items = by_id(list(found.items()))
    images = {one: item.image.removeprefix(CDN) for one, item in items.items()}
    assert images == {
        "tee": "/a.jpg?v=1", "tee#02": "/b.jpg?v=2", "tee#03": "/c.jpg", "tee#04": "/black.jpg",
        "tee#05": "/white.jpg", "hat": "/hat.jpg",
    }  # fmt: skip
    assert {item.product_id for item in items.values()} == {"tee", "hat"}
    assert items["tee"].attributes == {
        "name": "Tee", "description": "Soft & warm", "brand": "Acme", "category": "Tops",
        "tags": ["cotton", "summer"], "size": ["S", "M"], "color": ["Black", "White"], "price": 25.0,
        "compare_at_price": 39.0, "sku": "007-S",
    }  # fmt: skip
    assert items["tee#05"].attributes["color"] == ["White"]
    assert items["tee#05"].attributes["price"] == 29.0
    assert "size" not in items["hat"].attributes
    assert "1 products are not published" in " ".join(found.notes)
    assert "no photo of 'ghost'" in failures(path)[0]


def test_twenty_photos_of_a_product(tmp_path: Path) -> None:
    rows = [["Handle", "Title", "Variant Price", "Image Src", "Image Position"]]
    rows += [
        ["tee", "Tee" if n == 1 else "", "5" if n == 1 else "", f"{CDN}/{n}.jpg", str(n)]
        for n in range(1, 21)
    ]
    items = read(csv_table(tmp_path / "t.csv", rows))
    assert [item.id for item in items] == ["tee", *(f"tee#{n:02}" for n in range(2, 21))]
    assert {item.attributes["name"] for item in items} == {"Tee"}


def test_shopify_products_json(tmp_path: Path) -> None:
    products = [
        {
            "id": 1, "handle": "tee", "title": "Tee", "body_html": "<p>Soft</p>", "vendor": "Acme",
            "product_type": "Tops", "tags": ["cotton", "summer"],
            "options": [{"name": "Color", "position": 1, "values": ["Black", "White"]}],
            "variants": [
                {"id": 11, "option1": "Black", "price": "29.00", "compare_at_price": None, "sku": "T-B"},
                {"id": 12, "option1": "White", "price": "25.00", "sku": "T-W",
                 "featured_image": {"src": f"{CDN}/white.jpg"}},
            ],
            "images": [{"id": 5, "position": 2, "src": f"{CDN}/2.jpg"}, {"id": 4, "position": 1, "src": f"{CDN}/1.jpg"}],
        },
        {"handle": "ghost", "title": "Ghost", "variants": [], "images": []},
        {"handle": "odd", "variants": 5, "images": [5]},
    ]  # fmt: skip
    path = table(tmp_path / "products.json", json.dumps({"products": products}))
    items = by_id(list(listing(path).items()))
    assert [item.image.rpartition("/")[2] for item in items.values()] == ["1.jpg", "2.jpg", "white.jpg"]
    assert items["tee"].attributes == {
        "name": "Tee", "description": "Soft", "brand": "Acme", "category": "Tops", "tags": ["cotton", "summer"],
        "color": ["Black", "White"], "price": 25.0, "sku": "T-B",
    }  # fmt: skip
    assert items["tee#03"].attributes["color"] == "White"
    assert len(failures(path)) == 2


# --- WooCommerce

WOOCOMMERCE = """ID,Type,SKU,Name,Published,"Short description",Description,"In stock?","Sale price","Regular price",\
Categories,Tags,Images,Parent,"Attribute 1 name","Attribute 1 value(s)","Attribute 1 visible"
10,simple,007,Hat &amp; scarf,1,Warm,"<p>Very warm</p>",1,"12,50","1.015,00","Accessories, Accessories > Hats",\
"wool, winter","CDN/hat.jpg, CDN/hat-2.jpg",,Material,"Wool, Cotton",1
20,variable,TEE,Tee,1,Soft,,1,,,Tops,,CDN/tee.jpg,,Color,"Black, White",1
21,variation,TEE-B,Tee - Black,1,,,1,,"29,00",,,CDN/black.jpg,TEE,Color,Black,
22,variation,TEE-W,Tee - White,1,,,1,"20,00","25,00",,,,id:20,Color,White,
30,simple,DRAFT,Draft,-1,,,1,,"5,00",Tops,,CDN/draft.jpg,,,,
40,variation,LOST,Lost,1,,,1,,"5,00",,,CDN/lost.jpg,id:99,,,
""".replace("CDN", CDN)


def test_woocommerce(tmp_path: Path) -> None:
    path = table(tmp_path / "wc-product-export.csv", WOOCOMMERCE)
    found = listing(path, constants={"currency": "EUR"})
    items = by_id(list(found.items()))
    assert [(i.id, i.product_id, i.image.removeprefix(CDN)) for i in items.values()] == [
        ("007", "007", "/hat.jpg"), ("007#02", "007", "/hat-2.jpg"), ("TEE", "TEE", "/tee.jpg"),
        ("TEE#02", "TEE", "/black.jpg"),
    ]  # fmt: skip
    assert items["007"].attributes == {
        "name": "Hat & scarf", "description": "Very warm", "price": 1015.0, "sale_price": 12.5, "sku": "007",
        "category": "Accessories > Hats", "tags": ["wool", "winter"], "material": ["Wool", "Cotton"],
        "in_stock": 1, "currency": "EUR",
    }  # fmt: skip
    assert items["TEE"].attributes["color"] == ["Black", "White"]
    assert items["TEE"].attributes["price"] == 25.0
    assert items["TEE#02"].attributes["color"] == ["Black"]
    assert items["TEE#02"].attributes["price"] == 29.0
    assert "id:99" in failures(path)[0]
    assert "1 products are not published" in " ".join(found.notes)


# --- Magento

MAGENTO = """sku,store_view_code,attribute_set_code,product_type,categories,product_websites,name,description,weight,\
product_online,visibility,price,special_price,url_key,base_image,additional_images,additional_attributes,\
configurable_variations
MH01-XS-Black,,Top,simple,"Default Category/Men",base,Chaz Hoodie-XS-Black,,1,1,"Not Visible Individually",52.0000,,\
chaz-xs-black,/m/h/mh01-black.jpg,,"color=Black,size=XS",
MH01-S-Gray,,Top,simple,"Default Category/Men",base,Chaz Hoodie-S-Gray,,1,1,"Not Visible Individually",49.0000,,\
chaz-s-gray,/m/h/mh01-gray.jpg,,"color=Gray,size=S",
MH01,,Top,configurable,"Default Category/Men,Default Category/Men/Tops",base,Chaz Hoodie,"<p>Warm</p>",,1,\
"Catalog, Search",,,chaz,/m/h/mh01.jpg,"/m/h/mh01.jpg,/m/h/mh01_back.jpg","climate=Cool|Windy,pattern=Solid",\
"sku=MH01-XS-Black,size=XS,color=Black|sku=MH01-S-Gray,size=S,color=Gray"
MH01,german,,,,,Chaz Kapuzenpulli,,,,,,,,,,,
BAG,,Bag,simple,Default Category/Gear,base,Bag,,1,1,"Catalog, Search",34.0000,29.0000,bag,/b/a/bag.jpg,,,
OFF,,Bag,simple,Default Category/Gear,base,Off,,1,2,"Catalog, Search",34.0000,,off,/b/a/bag.jpg,,,
"""


def test_magento(tmp_path: Path) -> None:
    folder = tmp_path / "pub/media/catalog/product"
    photos(folder, *(f"m/h/mh01{end}.jpg" for end in ("", "_back", "-black", "-gray")), "b/a/bag.jpg")
    path = table(tmp_path / "export.csv", MAGENTO)
    constants = {"link": "https://shop.example/{url_key}.html", "currency": "USD"}
    found = listing(path, constants=constants)
    items = by_id(list(found.items()))
    assert {one: (item.product_id, Path(item.image).name) for one, item in items.items()} == {
        "MH01": ("MH01", "mh01.jpg"), "MH01#02": ("MH01", "mh01_back.jpg"), "MH01#03": ("MH01", "mh01-black.jpg"),
        "MH01#04": ("MH01", "mh01-gray.jpg"), "BAG": ("BAG", "bag.jpg"),
    }  # fmt: skip
    assert items["MH01"].attributes == {
        "sku": "MH01", "name": "Chaz Hoodie", "description": "Warm", "category": "Default Category/Men/Tops",
        "url_key": "chaz", "climate": ["Cool", "Windy"], "pattern": "Solid", "size": ["XS", "S"],
        "color": ["Black", "Gray"], "price": 49.0, "currency": "USD", "link": "https://shop.example/chaz.html",
    }  # fmt: skip
    assert items["MH01#03"].attributes["color"] == ["Black"]
    assert items["BAG"].attributes["sale_price"] == 29.0
    assert "1 products are not online" in " ".join(found.notes)
    (item,) = [i for i in listing(path, images="https://shop.example/media").items() if i.id == "BAG"]
    assert item.image == "https://shop.example/media/b/a/bag.jpg"


# --- any other


def test_the_format_can_be_stated(tmp_path: Path) -> None:
    path = csv_table(tmp_path / "t.csv", [["id", "image_link"], ["1", f"{CDN}/1.jpg"]])
    assert [item.product_id for item in read(path)] == ["1"]
    (item,) = read(path, feed="table", columns={"image": "image_link"})
    assert (item.id, item.product_id) == ("1", None)
    with pytest.raises(UsageError):
        read(path, feed="ebay")


def test_columns_that_a_format_leaves_out_can_be_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", SHOPIFY)
    item = next(iter(listing(path, columns={"maker": "Vendor"}).items()))
    assert item.attributes["maker"] == "Acme"
