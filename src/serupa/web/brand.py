"""The shop's own name on the page: a TOML file, read and checked before anything is served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serupa.errors import InvalidInputError, NotFoundError, UsageError
from serupa.files.atomic import open_regular
from serupa.images.kinds import kind_of
from serupa.web.assets import Assets
from serupa.web.settings import read_toml
from serupa.web.texts import TEXTS

_WORDS = ("start", "start_touch", "browse", "camera", "samples")
_MOST_BYTES = 500_000
_CONTRAST = 4.5  # of text, WCAG 2.2 AA
_PAPERS = {"light": "#faf9f7", "dark": "#1d1c1a"}  # of serupa.css, those that an accent stands out least from
_LOGOS = {"SVG": ".svg", "PNG": ".png", "WebP": ".webp"}
_HIDDEN = {  # what a page shows of an entry that is off, beside its own page
    "search": "#search-with",
    "for-you": ".heart, #heart",
    "wardrobe": "#own",
    "outfits": "#complete, .piece-actions > .button",
}

Entry = Literal["search", "for-you", "wardrobe", "outfits"]
_Color = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Look(_Strict):
    """What is another one in light and in dark."""

    accent: _Color | None = None
    logo: str | None = None


class _File(_Strict):
    """What the file says, each of it optional."""

    name: Annotated[str, Field(min_length=1, max_length=40)] = "Serupa"
    font: Annotated[str, Field(pattern=r"^[\w '\",-]{1,200}$")] | None = None
    font_file: str | None = None
    menu: Annotated[tuple[Entry, ...], Field(min_length=1)] = ("search", "for-you", "wardrobe", "outfits")
    light: _Look = _Look()
    dark: _Look = _Look()
    words: dict[str, dict[str, Annotated[str, Field(min_length=1, max_length=200)]]] = {}


class Brand(NamedTuple):
    """What the pages are told of the shop.

    Parameters
    ----------
    name : str
    menu : tuple of str
        The entries that are on: ``search``, ``for-you``, ``wardrobe``, ``outfits``.
    words : dict
        Texts in place of the page's own, by language.
    assets : Assets
        Its style, logos and font.
    css : str or None
        The address of the style; None where it adds nothing.
    logos : dict of str to str
        Addresses by ``light`` and ``dark``, where they have one.
    """

    name: str
    menu: tuple[Entry, ...]
    words: dict[str, dict[str, str]]
    assets: Assets
    css: str | None
    logos: dict[str, str]

    @property
    def home(self) -> str:
        """The first page: the search, or what there is in its place."""
        if "search" in self.menu:
            return "/"
        return "/for-you" if "for-you" in self.menu else "/wardrobe"


def read_brand(file: str | os.PathLike[str] | None) -> Brand:
    """Read a brand; Serupa's own without a file. The files that it names stand beside it.

    Raises
    ------
    InvalidInputError, NotFoundError
        If a file cannot be read, or is not what it is to be.
    UsageError
        If a value is unknown, or cannot be what it is.
    """
    folder = Path(file).parent if file is not None else Path()
    try:
        said = _File(**(read_toml(file) if file is not None else {}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(file, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if set(said.menu) == {"outfits"}:
        raise UsageError(file, "menu: outfits is no page", "add search, for-you or wardrobe")
    _check_words(file, said.words)
    files: dict[str, bytes] = {}
    logos: dict[str, str] = {}
    for theme, look in (("light", said.light), ("dark", said.dark)):
        if look.logo is not None:
            data = _read(folder / look.logo)
            ending = _LOGOS.get(kind_of(data).partition(":")[0])
            if ending is None:
                raise InvalidInputError(folder / look.logo, "a logo is an SVG, PNG or WebP file")
            logos[theme] = f"logo-{theme}{ending}"
            files[logos[theme]] = data
    if said.font_file is not None:
        files["font.woff2"] = _read(folder / said.font_file)
        if not files["font.woff2"].startswith(b"wOF2"):
            raise InvalidInputError(folder / said.font_file, "a font file is a WOFF2 file")
    css = _style(file, said, set(logos))
    if css:
        files["brand.css"] = css.encode()
    assets = Assets(files, "/brand")
    addresses = {theme: assets.url(name) for theme, name in logos.items()}
    return Brand(
        said.name, said.menu, said.words, assets, assets.url("brand.css") if css else None, addresses
    )


def _check_words(file: Any, words: dict[str, dict[str, str]]) -> None:
    for code, texts in words.items():
        if code not in TEXTS:
            raise UsageError(file, f"words.{code}: no such language", f"there are {', '.join(TEXTS)}")
        for name in texts:
            if name not in _WORDS:
                raise UsageError(file, f"words.{code}.{name}: no such text", f"there are {', '.join(_WORDS)}")


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as opened:
            data = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(path, "no such file") from None
    except OSError as error:
        raise InvalidInputError(path, f"cannot be read: {error.strerror or error}") from None
    if len(data) > _MOST_BYTES:
        raise InvalidInputError(path, f"larger than {_MOST_BYTES // 1000} kB, which every visitor would load")
    return data


def _style(file: Any, said: _File, logos: set[str]) -> str:
    """Return the rules that change the page's own style."""
    rules = []
    accents = {"light": said.light.accent, "dark": said.dark.accent or said.light.accent}
    if any(accents.values()):
        for theme, accent in accents.items():
            if accent is None:
                raise UsageError(file, f"{theme}.accent: is missing", "say both, or the light one alone")
            contrast = _contrast(accent, _PAPERS[theme])
            if contrast < _CONTRAST:
                raise UsageError(
                    file,
                    f"{theme}.accent: {accent} on the page's ground has a contrast of {contrast:.1f}",
                    f"text that can be read has {_CONTRAST:g}",
                )
        light, dark = accents["light"], accents["dark"]
        on = [max("#ffffff", "#191816", key=lambda ink: _contrast(ink, one or "")) for one in (light, dark)]
        rules.append(
            f":root {{ --accent: light-dark({light}, {dark}); --on-accent: light-dark({on[0]}, {on[1]}); "
            f"--seal: {light}; }}"
        )
    if said.font_file is not None:
        source = 'url("font.woff2") format("woff2")'
        rules.append(
            f'@font-face {{ font-family: "Brand"; src: {source}; font-weight: 100 900; font-display: swap; }}'
        )
    if said.font or said.font_file:
        families = ", ".join(filter(None, ('"Brand"' if said.font_file else "", said.font, "sans-serif")))
        rules.append(f"body {{ font-family: {families}; }}")
    if logos == {"light", "dark"}:
        night = ":root:not([data-theme=light])"
        rules.append(".logo.dark, :root[data-theme=dark] .logo.light { display: none; }")
        rules.append(":root[data-theme=dark] .logo.dark { display: block; }")
        rules.append(
            f"@media (prefers-color-scheme: dark) {{ {night} .logo.light {{ display: none; }} "
            f"{night} .logo.dark {{ display: block; }} }}"
        )
    rules += [
        f"{hidden} {{ display: none !important; }}"
        for entry, hidden in _HIDDEN.items()
        if entry not in said.menu
    ]
    return "\n".join(rules)


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21, as WCAG 2.2 defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    parts = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
