"""How a server is set up: from flags, the environment and a TOML file."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from serupa.errors import SerupaError

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENVIRONMENT = {"SERUPA_API_KEY": "api_key", "SERUPA_READ_KEY": "read_key"}


class SettingsError(SerupaError):
    """A setting of the server is unknown or cannot be what it is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server allows, and how much of it.

    Parameters
    ----------
    host, port : str, int
        Where it listens; port 0 takes a free one.
    api_key_sha256 : str, optional
        SHA-256 of the key that may add and remove items; without one nobody may.
    read_key_sha256 : str, optional
        SHA-256 of the key that reading needs; without one everybody may read.
    cors_origins : tuple of str
        Origins whose pages may call the API from a browser; none unless given.
    limit_mb : float
        Largest request body, in 10^6 bytes.
    held_mb : float
        Largest sum of the bodies of all requests in flight, in 10^6 bytes: it bounds memory.
    queue : int
        Photos that may be waiting for the encoder or in it; one more is answered with 429.
    batch : int
        Photos that are encoded at once, at most.
    time_limit_s : float
        Longest time for receiving a request, and again for answering it.
    rate_per_minute : float
        Requests per minute that one client (a key, else an address) may make; 0 is no limit.
    thumbnails_mb : float
        Size of the disk cache of thumbnails, in 10^6 bytes.
    photos : str, optional
        Directory for photos that come through the API; the catalogue's own unless given. A catalogue on a
        server has none: several servers of one catalogue share a directory.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key_sha256: str | None = None
    read_key_sha256: str | None = None
    cors_origins: tuple[str, ...] = ()
    limit_mb: float = 20.0
    held_mb: float = 500.0
    queue: int = 64
    batch: int = 16
    time_limit_s: float = 30.0
    rate_per_minute: float = 0.0
    thumbnails_mb: float = 500.0
    photos: str | None = None

    def __post_init__(self) -> None:
        for name in ("limit_mb", "held_mb", "queue", "batch", "time_limit_s", "thumbnails_mb"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.rate_per_minute < 0 or not 0 <= self.port < 65536:
            raise SettingsError("rate_per_minute must be at least 0, and port from 0 to 65535")
        for name in ("api_key_sha256", "read_key_sha256"):
            value = getattr(self, name)
            if value is not None and not _HEX_SHA256.fullmatch(value):
                raise SettingsError(f"{name} must be the 64 hexadecimal digits of a SHA-256")
        for origin in self.cors_origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise SettingsError(f"origin {origin!r}: write it as https://shop.example, without a path")

    @property
    def limit_bytes(self) -> int:
        """Largest request body."""
        return int(self.limit_mb * 1e6)


def key_sha256(key: str) -> str:
    """Return the SHA-256 of a key: the only form in which a server keeps it.

    Raises
    ------
    SettingsError
        If the key is too short to be a secret.
    """
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        raise SettingsError(
            "a key must be at least 16 printable ASCII characters; make one with: openssl rand -hex 24"
        )
    return hashlib.sha256(key.encode()).hexdigest()


def load_settings(
    file: str | os.PathLike[str] | None = None,
    given: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Put settings together: what is given outweighs the environment, and that the file.

    Parameters
    ----------
    file : path, optional
        TOML, with the names of `Settings`; ``api_key`` and ``read_key`` are taken too.
    given : mapping, optional
        As in the file; None values are passed over.
    environment : mapping
        Where ``SERUPA_API_KEY`` and ``SERUPA_READ_KEY`` are looked up.

    Raises
    ------
    SettingsError
        If the file cannot be read, or a setting is unknown or of another type.
    """
    values = _read(Path(file)) if file is not None else {}
    values.pop("tenants", None)  # serupa.web.tenants reads them
    for variable, name in _ENVIRONMENT.items():
        if environment.get(variable):
            values.pop(f"{name}_sha256", None)
            values[name] = environment[variable]
    for name, value in (given or {}).items():
        if value is not None:
            if name in _ENVIRONMENT.values():
                values.pop(f"{name}_sha256", None)
            values[name] = value
    for name in _ENVIRONMENT.values():
        if name in values:
            values[f"{name}_sha256"] = key_sha256(str(values.pop(name)))
    return Settings(**{name: _typed(name, value) for name, value in values.items()})


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingsError(f"{file}: not a TOML file: {error}") from None


def _typed(name: str, value: Any) -> Any:
    kinds = {field.name: str(field.type) for field in fields(Settings)}
    if name not in kinds:
        raise SettingsError(f"unknown setting {name!r}; there are {', '.join(kinds)}, api_key and read_key")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kinds[name].split()[0]:
        case "float" if number:
            return float(value)
        case "int" if number and value == int(value):
            return int(value)
        case "str" if isinstance(value, str):
            return value
        case "tuple[str," if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return tuple(value)
        case _:
            raise SettingsError(f"setting {name!r} cannot be {value!r}")
