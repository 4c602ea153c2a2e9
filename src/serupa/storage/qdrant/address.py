"""Where a catalogue on a server is, as people write it: ``qdrant://a:6333,b:6333/name?replicas=2``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from serupa.errors import UsageError
from serupa.storage.manifest import StoreLayout

SCHEME = "qdrant"
URL_VARIABLE = "SERUPA_QDRANT_URL"
"""Names the nodes of addresses without any: ``qdrant:///shop``; several with commas between them."""
Transport = Literal["grpc", "rest"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_REST_PORT = 6333
_SWITCH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """One node of a server, and its ports for REST and gRPC."""

    host: str
    port: int
    grpc_port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A catalogue on a Qdrant server or cluster.

    Parameters
    ----------
    nodes : tuple of NodeAddress
        The server; of a cluster, all nodes, any of which answers in the place of another.
    name : str
        The catalogue.
    grpc_port : int, optional
        Of every node; one above its REST port unless given.
    transport : {"grpc", "rest"}
        How it is talked to: gRPC, or REST where only that gets through.
    tls : bool
        Whether the connection is encrypted.
    timeout_s : int
        How long one request may take.
    layout : StoreLayout
        For a new catalogue.
    asked : frozenset of str
        Which parts of the layout were written in the address; others are whatever a catalogue has.
    """

    nodes: tuple[NodeAddress, ...]
    name: str
    grpc_port: int | None = None
    transport: Transport = "grpc"
    tls: bool = False
    timeout_s: int = 30
    layout: StoreLayout = field(default_factory=StoreLayout)
    asked: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return the address as messages show it: without its settings."""
        return f"{SCHEME}://{','.join(map(str, self.nodes))}/{self.name}"

    @property
    def full(self) -> str:
        """The address with everything that says how to connect."""
        grpc_port = "" if self.grpc_port is None else f"&grpc_port={self.grpc_port}"
        return (
            f"{self}?transport={self.transport}&tls={str(self.tls).lower()}&timeout_s={self.timeout_s}"
            f"{grpc_port}"
        )

    def renamed(self, name: str) -> ServerAddress:
        """Return the address of another catalogue on the same server."""
        return replace(self, name=_checked_name(name, str(self)))


def is_server(path: str | os.PathLike[str]) -> bool:
    """Tell whether a catalogue's path is the address of one on a server."""
    return isinstance(path, str) and path.startswith(f"{SCHEME}://")


def parse_address(text: str) -> ServerAddress:
    """Read an address.

    Raises
    ------
    UsageError
        If it is not one; the message says what is wrong.
    """
    given_hosts, _, rest = text.removeprefix(f"{SCHEME}://").partition("/")
    parts = urlsplit(f"/{rest}")
    if "@" in given_hosts:
        raise UsageError(
            f"{SCHEME}://...@{given_hosts.rpartition('@')[2]}",
            "a key has no place in an address",
            "set SERUPA_QDRANT_API_KEY",
        )
    hosts = given_hosts or os.environ.get(URL_VARIABLE, "")
    if not hosts or not is_server(text) or parts.fragment:
        raise UsageError(
            text, "not an address", f"write it as {SCHEME}://host:{_REST_PORT}/name, or set {URL_VARIABLE}"
        )
    name = _checked_name(parts.path.removeprefix("/"), text)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = set(StoreLayout.__struct_fields__)
    layout = StoreLayout(**{key: _value(text, key, value) for key, value in given.items() if key in own})
    if layout.write_consistency > layout.replicas:
        raise UsageError(
            text,
            f"write_consistency={layout.write_consistency} needs as many replicas, not {layout.replicas}",
        )
    connection = {key: _value(text, key, value) for key, value in given.items() if key not in own}
    if not given_hosts and "https://" in hosts:
        connection.setdefault("tls", True)
    nodes = tuple(_node(text, one.strip(), connection.get("grpc_port")) for one in hosts.split(","))
    return ServerAddress(
        tuple(dict.fromkeys(nodes)), name, **connection, layout=layout, asked=frozenset(given) & own
    )


def _node(text: str, host: str, grpc_port: int | None) -> NodeAddress:
    """Read one of the hosts: ``a``, ``a:6333`` or, in the environment, ``http://a:6333``."""
    try:
        parts = urlsplit(f"//{re.sub('^(https?|qdrant)://', '', host).rstrip('/')}")
        port = parts.port or _REST_PORT
    except ValueError as error:
        raise UsageError(text, f"not an address ({error})") from None
    if not parts.hostname or parts.path or parts.query:
        raise UsageError(text, f"not an address ({host!r} is no host)")
    return NodeAddress(parts.hostname, port, grpc_port or port + 1)


def _checked_name(name: str, text: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            text, f"a catalogue's name is 1 to 100 letters, digits, - and _: {SCHEME}://host:port/name"
        )
    return name


_CHOICES = {"quantization": ("int8", "binary", "none"), "transport": ("grpc", "rest")}
_COUNTS = ("shards", "replicas", "write_consistency", "grpc_port", "timeout_s")
_SWITCHES = ("on_disk", "tls")


def _value(text: str, key: str, value: str) -> Any:
    if key in _CHOICES and value in _CHOICES[key]:
        return value
    if key in _SWITCHES and value in _SWITCH:
        return _SWITCH[value]
    if key in _COUNTS and re.fullmatch(r"[1-9][0-9]{0,4}", value):
        return int(value)
    known = (*_CHOICES, *_SWITCHES, *_COUNTS)
    if key not in known:
        raise UsageError(text, f"unknown setting {key!r}", f"there are {', '.join(known)}")
    wanted = " or ".join(_CHOICES.get(key, tuple(_SWITCH) if key in _SWITCHES else ("a whole number",)))
    raise UsageError(text, f"{key} must be {wanted}, not {value!r}")
