"""The page's texts, a JSON file a language, and which of them a request is answered in."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from fastapi import Request

from serupa.garments.kinds import KINDS

_FOLDER = files("serupa.web") / "texts"


def _read(code: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((_FOLDER / f"{code}.json").read_text("utf-8"))
    return texts | {f"kind_{kind.name}": getattr(kind, code) for kind in KINDS}


TEXTS = {code: _read(code) for code in ("en", "id")}
ADMIN_TEXTS = {code: json.loads((_FOLDER / f"admin-{code}.json").read_text("utf-8")) for code in TEXTS}
"""What only the page of those who run the search has: shoppers do not load it."""


def language_of(request: Request) -> str:
    """Return the language that is asked for: by the address, else by a cookie, else by the browser."""
    chosen = (request.query_params.get("lang", ""), request.cookies.get("serupa_lang", ""))
    for part in (*chosen, *request.headers.get("accept-language", "").split(",")):
        code = part.split(";")[0].strip().lower().split("-")[0]
        if code in TEXTS:
            return code
    return "en"


def in_language(request: Request) -> dict[str, Any]:
    """Return what every template is given: the brand, the language, its texts, and those of the others."""
    code, brand = language_of(request), request.app.state.brand
    words = {"site": brand.name, **brand.words.get(code, {})}
    return {"brand": brand, "code": code, "t": TEXTS[code] | words, "texts": TEXTS}
