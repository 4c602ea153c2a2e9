"""How a server is set up: from flags, the environment and a TOML file."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from serupa.errors import InvalidInputError, MissingExtraError, NotFoundError, UsageError
from serupa.files.atomic import read_bounded

try:
    from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
except ImportError as error:
    raise MissingExtraError("serupa serve", "web") from error

_KEYS = {"SERUPA_API_KEY": "api_key", "SERUPA_READ_KEY": "read_key"}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def _origin(text: str) -> str:
    if text != "*" and not re.fullmatch(r"https?://[^/\s]+", text):
        raise ValueError("write an origin as https://shop.example, without a path")
    return text


Origin = Annotated[str, AfterValidator(_origin)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="64 hexadecimal digits")]


class Settings(BaseModel):
    """What a server allows, and how much of it.

    Parameters
    ----------
    host, port : str, int
        Where it listens; port 0 takes a free one.
    allowed_hosts : tuple of str
        Names that requests may call it by (their ``Host``); without any, those of this machine alone where it
        listens at a loopback address, else every name.
    trusted_proxies : tuple of str
        Addresses of proxies whose ``X-Forwarded-For`` is believed; nobody's unless given.
    api_key_sha256 : str, optional
        SHA-256 of the key that may add and remove items; without one nobody may.
    read_key_sha256 : str, optional
        SHA-256 of the key that reading needs; without one everybody may read.
    cors_origins : tuple of str
        Origins whose pages may call the API from a browser; none unless given.
    frame_origins : tuple of str
        Origins whose pages may show the server's in a frame; none unless given.
    limit_mb : float
        Largest request body, in 10^6 bytes.
    held_mb : float
        Largest sum of the bodies of all requests in flight, in 10^6 bytes: it bounds memory.
    decoding_mb : float
        Memory that decoding photos may take, all that are decoded at once together, in 10^6 bytes; a photo
        that takes more alone is refused.
    decoding_s : float
        Longest time for decoding a photo.
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
    backups : str, optional
        Directory for backups that are asked for over HTTP; none are made without one.
    brand : str, optional
        A TOML file with the shop's name, logo, colours, words and menu (`serupa.web.brand`).
    events_days : int
        How many days an anonymous log of searches, clicks and purchases is kept (`serupa.events`); 0 is none.
    events : str, optional
        Directory of the log; in the catalogue's own unless given. A catalogue on a server has none.

    Raises
    ------
    UsageError
        If a setting is unknown, or cannot be what it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, lt=65_536, strict=True)] = 8000
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    api_key_sha256: Sha256 | None = None
    read_key_sha256: Sha256 | None = None
    cors_origins: tuple[Origin, ...] = ()
    frame_origins: tuple[Origin, ...] = ()
    limit_mb: Positive = 20.0
    held_mb: Positive = 200.0
    decoding_mb: Positive = 800.0
    decoding_s: Positive = 10.0
    queue: Count = 64
    batch: Count = 16
    time_limit_s: Positive = 30.0
    rate_per_minute: Annotated[float, Field(ge=0)] = 0.0
    thumbnails_mb: Positive = 500.0
    photos: str | None = None
    backups: str | None = None
    brand: str | None = None
    events_days: Annotated[int, Field(ge=0, le=3_650, strict=True)] = 0
    events: str | None = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"]))
            names = type(self).model_fields
            hint = "" if first["loc"][0] in names else f"there are {', '.join(names)}, api_key, read_key"
            raise UsageError(f"setting {name!r}", first["msg"], hint) from None

    @property
    def limit_bytes(self) -> int:
        """Largest request body."""
        return int(self.limit_mb * 1e6)

    @property
    def held_bytes(self) -> int:
        """Largest sum of the bodies of all requests in flight."""
        return int(self.held_mb * 1e6)

    @property
    def decoding_bytes(self) -> int:
        """Memory that decoding may take."""
        return int(self.decoding_mb * 1e6)

    def serving(self) -> Settings:
        """Return these settings for a server that listens: at a loopback address by loopback names alone.

        A page of another site can make a browser call this machine by a name of its own (DNS rebinding).
        """
        local = self.host in ("localhost", "::1") or self.host.startswith("127.")
        if self.allowed_hosts or not local:
            return self
        return self.model_copy(update={"allowed_hosts": (*_LOOPBACK, self.host)})


def key_sha256(key: str) -> str:
    """Return the SHA-256 of a key: the only form in which a server keeps it.

    Raises
    ------
    UsageError
        If the key is too short to be a secret.
    """
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        raise UsageError(
            "a key", "must be at least 16 printable ASCII characters", "make one with: openssl rand -hex 24"
        )
    return hashlib.sha256(key.encode()).hexdigest()


def hashed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose keys are hashes; ``api_key`` outweighs ``api_key_sha256``.

    Raises
    ------
    UsageError
        If a key is too short.
    """
    hashes = dict(values)
    for name in _KEYS.values():
        if name in hashes:
            hashes[f"{name}_sha256"] = key_sha256(str(hashes.pop(name)))
    return hashes


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
    UsageError
        If a setting is unknown, or cannot be what it is.
    InvalidInputError, NotFoundError
        If the file cannot be read.
    """
    written = read_toml(file) if file is not None else {}
    written.pop("tenants", None)  # serupa.web.tenants reads them
    keys = {name: environment[variable] for variable, name in _KEYS.items() if environment.get(variable)}
    flags = {name: value for name, value in (given or {}).items() if value is not None}
    return Settings(**hashed(written) | hashed(keys) | hashed(flags))


def read_toml(file: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InvalidInputError, NotFoundError
        If it cannot be read.
    """
    path = Path(file)
    try:
        return tomllib.loads(read_bounded(path, 2**20).decode())
    except FileNotFoundError:
        raise NotFoundError(path, "no such file") from None
    except OSError as error:
        raise InvalidInputError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InvalidInputError(path, f"not a TOML file: {error}") from None
