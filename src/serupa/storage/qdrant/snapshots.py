"""The server's own snapshots of shards: taken from a node that has the shard, and given to one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serupa.errors import SerupaError, UnavailableError
from serupa.storage.qdrant.address import NodeAddress
from serupa.storage.qdrant.client import KEY_VARIABLE, Connection
from serupa.storage.qdrant.topology import ACTIVE

_WAIT_S = 3600.0
"""A node may take so long to take, or to take in, a snapshot."""


def download(connection: Connection, collection: str, shard: int, target: Path) -> None:
    """Write a snapshot of a shard, as it is now, into a file.

    Raises
    ------
    UnavailableError
        If none of the nodes that the address names has the shard and gives it away.
    """
    import httpx

    def take(node: NodeAddress) -> None:
        url = f"{_root(connection, node)}/collections/{collection}/shards/{shard}/snapshot"
        with (
            httpx.stream("GET", url, headers=_headers(), timeout=_timeout()) as answer,
            target.open("wb") as file,
        ):
            if answer.status_code != httpx.codes.OK:
                answer.read()
            answer.raise_for_status()
            for part in answer.iter_raw():
                file.write(part)

    _with_a_holder(connection, collection, shard, take)


def upload(connection: Connection, collection: str, shard: int, snapshot: Path) -> None:
    """Let a shard be what a snapshot holds; its other replicas follow.

    Raises
    ------
    UnavailableError
        If none of the nodes that the address names has the shard and takes it.
    """
    import httpx

    def give(node: NodeAddress) -> None:
        url = f"{_root(connection, node)}/collections/{collection}/shards/{shard}/snapshots/upload"
        with snapshot.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            asked = {"priority": "snapshot", "wait": "true", "checksum": sha256}
            httpx.post(
                url, params=asked, files={"snapshot": file}, headers=_headers(), timeout=_timeout()
            ).raise_for_status()

    _with_a_holder(connection, collection, shard, give)


def _with_a_holder(
    connection: Connection, collection: str, shard: int, work: Callable[[NodeAddress], None]
) -> None:
    """Do something with a node that has an active replica of a shard; with the next where it fails."""
    import httpx

    failure = "no node that the address names has an active replica of it"
    for node in _holders(connection, collection, shard):
        try:
            work(node)
            return
        except httpx.HTTPStatusError as error:
            failure = f"{node} refuses: {error.response.status_code} {error.response.text[:200]}"
        except httpx.HTTPError as error:
            failure = f"{node} does not answer: {error}"
    raise UnavailableError(connection.address, f"shard {shard} of {collection}: {failure}", "name every node")


def _holders(connection: Connection, collection: str, shard: int) -> Iterator[NodeAddress]:
    for address, node in connection.by_node():
        try:
            info = node.read(lambda client: client.collection_cluster_info(collection))
        except SerupaError:
            continue
        if any(one.shard_id == shard and str(one.state) == ACTIVE for one in info.local_shards):
            yield address


def _root(connection: Connection, node: NodeAddress) -> str:
    return f"{'https' if connection.address.tls else 'http'}://{node}"


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE)
    return {"api-key": key} if key else {}


def _timeout() -> Any:
    import httpx

    return httpx.Timeout(_WAIT_S, connect=10.0)
