"""Where a photo of a table is: paths as other systems write them, and addresses."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from serupa.errors import NotFoundError
from serupa.files.urls import is_url
from serupa.sources.values import shown

_MAGENTO_MEDIA = ("pub/media/catalog/product", "media/catalog/product", "media/import", "pub/media/import")


class PhotoFinder:
    """Finds the photos that one table speaks of.

    Parameters
    ----------
    base : str
        The folder or address that relative paths start at.
    """

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/") if is_url(base) else base
        self._names: dict[str, dict[str, str]] = {}

    def find(self, text: str) -> str:
        """Return where a photo is: an absolute path of a file that is there, or an address.

        A path may be written in another Unicode form, with backslashes, percent-encoded, in other letters
        (``IMG_1.JPG`` for ``img_1.jpg``), or from the root of a site (``/m/a.jpg``).

        Raises
        ------
        NotFoundError
            If no such file is there: names the likely cause.
        """
        text = text.strip().strip('"').strip()
        if text.lower().startswith("file://"):
            return self._file(url2pathname(urlsplit(text).path), text)
        if text.startswith("//"):
            return f"https:{text}"
        if is_url(text):
            return text.replace(" ", "%20")
        if is_url(self.base):
            return f"{self.base}/{text.replace(os.sep, '/').lstrip('/').replace(' ', '%20')}"
        return self._file(text, text)

    def _file(self, path: str, written: str) -> str:
        for candidate in dict.fromkeys(self._candidates(path)):
            if os.path.lexists(candidate):
                return candidate
        for candidate in dict.fromkeys(self._candidates(path)):
            alike = self._alike(candidate)
            if alike is not None:
                return alike
        raise NotFoundError(shown(written), self._problem(path))

    def _candidates(self, path: str) -> list[str]:
        forms = [path]
        if "\\" in path:
            forms.append(path.replace("\\", "/"))
        if "%" in path:
            forms.append(unquote(forms[-1]))
        found = [str(Path(self.base, form)) for form in forms]
        inside = [form.lstrip("/") for form in forms if form.startswith("/")]
        for folder in ("", *_MAGENTO_MEDIA):
            found += [str(Path(self.base, folder, form)) for form in inside]
        return found

    def _alike(self, path: str) -> str | None:
        """Return the file whose path is the same text in another Unicode form or in other letters."""
        parts = Path(path).parts
        reached = parts[0]
        for part in parts[1:]:
            following = str(Path(reached, part))
            if not os.path.lexists(following):
                name = self._names_in(reached).get(_folded(part))
                if name is None:
                    return None
                following = str(Path(reached, name))
            reached = following
        return reached

    def _names_in(self, folder: str) -> dict[str, str]:
        if folder not in self._names:
            try:
                names = [entry.name for entry in os.scandir(folder)]
            except OSError:
                names = []
            counts = Counter(map(_folded, names))  # of two names that differ in case alone, neither is meant
            self._names[folder] = {_folded(name): name for name in names if counts[_folded(name)] == 1}
        return self._names[folder]

    def _problem(self, path: str) -> str:
        if PureWindowsPath(path).drive:
            return "no such file; it is a path of a Windows machine, give paths from the table's folder"
        try:
            Path(self.base, path).lstat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return "no such file" if Path(path).is_absolute() else f"no such file in {shown(self.base)}"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return "no such file"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
