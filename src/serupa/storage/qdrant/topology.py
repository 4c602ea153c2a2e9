"""Where the shards of a collection lie, by what every node says of its own: replicas, states, transfers."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from serupa.errors import SerupaError
from serupa.storage.qdrant.client import Connection

ACTIVE = "Active"
_LIMIT_S = 3


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a shard on a node; ``points`` is roughly how many, None where the node was not asked."""

    shard: int
    node: int
    state: str
    points: int | None = None


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A shard on its way to another node, which ``moves`` it or makes one more replica.

    ``done`` is the share of its points that is there, as far as both nodes tell.
    """

    shard: int
    source: int
    target: int
    moves: bool
    done: float | None = None


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of a cluster, and where the shards of one collection lie.

    Parameters
    ----------
    nodes : dict of int to str
        The cluster's own name for each node, and its address: where it was asked, or where the other nodes
        reach it.
    silent : tuple of str
        Nodes that the catalogue's address names and that do not answer.
    """

    nodes: dict[int, str]
    silent: tuple[str, ...] = ()
    replicas: tuple[Replica, ...] = ()
    transfers: tuple[Transfer, ...] = ()

    @property
    def shards(self) -> dict[int, list[Replica]]:
        """The replicas of each shard."""
        found: dict[int, list[Replica]] = defaultdict(list)
        for replica in self.replicas:
            found[replica.shard].append(replica)
        return dict(sorted(found.items()))

    def name(self, node: int) -> str:
        """Return the address of a node."""
        return self.nodes.get(node, str(node))

    def deviations(self, replicas: int) -> list[str]:
        """Return, in words, what is not as it should be: each shard on so many nodes, all of them active."""
        found = [f"node {address} does not answer" for address in self.silent]
        for shard, there in self.shards.items():
            active = [one for one in there if one.state == ACTIVE]
            found += [
                f"shard {shard}: its replica on {self.name(one.node)} is {one.state}"
                for one in there
                if one.state != ACTIVE
            ]
            if len(active) < replicas:
                found.append(f"shard {shard}: {len(active)} active of {replicas} replicas")
        for one in self.transfers:
            share = "" if one.done is None else f", {one.done:.0%} done"
            verb = "moved" if one.moves else "copied"
            found.append(
                f"shard {one.shard}: is being {verb} from {self.name(one.source)} to "
                f"{self.name(one.target)}{share}"
            )
        return found


def read_topology(connection: Connection, collection: str) -> Topology:
    """Ask every node that the address names, at once.

    Raises
    ------
    UnavailableError
        If none of them answers.
    """
    first = connection.read(lambda client: client.collection_cluster_info(collection))
    nodes = list(connection.by_node(_LIMIT_S))
    with ThreadPoolExecutor(len(nodes)) as pool:
        told = list(pool.map(lambda node: (node[0], _ask(node[1], collection)), nodes))
    answers = [info for _, info in told if info is not None] or [first]
    states: dict[tuple[int, int], Replica] = {}
    for info in answers:
        for one in info.remote_shards:
            key = (one.shard_id, one.peer_id)
            states.setdefault(key, Replica(shard=one.shard_id, node=one.peer_id, state=str(one.state)))
    for info in answers:  # a node knows best of its own
        for one in info.local_shards:
            states[one.shard_id, info.peer_id] = Replica(
                shard=one.shard_id, node=info.peer_id, state=str(one.state), points=one.points_count
            )
    points = {key: replica.points for key, replica in states.items()}
    transfers = {(one.shard_id, one.from_, one.to): one for info in answers for one in info.shard_transfers}
    return Topology(
        nodes=_nodes(connection) | {info.peer_id: str(node) for node, info in told if info is not None},
        silent=tuple(str(node) for node, info in told if info is None),
        replicas=tuple(states[key] for key in sorted(states)),
        transfers=tuple(
            Transfer(
                shard=shard,
                source=source,
                target=target,
                moves=not one.sync,
                done=_share(points.get((shard, target)), points.get((shard, source))),
            )
            for (shard, source, target), one in sorted(transfers.items())
        ),
    )


def _ask(node: Connection, collection: str) -> Any:
    try:
        return node.read(lambda client: client.collection_cluster_info(collection))
    except SerupaError:
        return None


def _nodes(connection: Connection) -> dict[int, str]:
    """Return what the cluster says of its nodes; it does so by REST alone."""
    try:
        status: Any = connection.read(lambda client: client.cluster_status())
    except SerupaError:
        return {}
    return {int(peer): str(info.uri) for peer, info in (getattr(status, "peers", None) or {}).items()}


def _share(there: int | None, whole: int | None) -> float | None:
    return None if there is None or not whole else min(1.0, there / whole)
