"""More or fewer replicas of each shard, spread evenly over the nodes, while the collection serves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serupa.errors import UnavailableError
from serupa.progress import Progress
from serupa.storage.qdrant.client import Connection, ExistsError
from serupa.storage.qdrant.topology import ACTIVE, Topology, read_topology

_LOOK_EVERY_S = 1.0
_ASK_AGAIN_S = 30.0
_STALLED_S = 600.0
"""How long a transfer may bring nothing nearer before it is given up."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on the cluster: a shard's replica copied or moved to a node, or dropped from one."""

    kind: Literal["copy", "move", "drop"]
    shard: int
    node: int
    source: int = 0


def plan(shards: Mapping[int, Iterable[int]], nodes: Iterable[int], replicas: int) -> list[Step]:
    """Return the steps to so many replicas of each shard, spread evenly over the nodes.

    Parameters
    ----------
    shards : mapping of int to iterable of int
        The nodes that have an active replica of each shard.
    nodes : iterable of int
        All nodes there are.
    replicas : int
        At most as many as nodes.
    """
    there = {shard: set(on) for shard, on in shards.items()}
    nodes = sorted(nodes)
    steps: list[Step] = []

    def load(node: int) -> int:
        return sum(node in on for on in there.values())

    for shard, on in there.items():
        while len(on) < replicas:
            source = min(on, key=load)
            at = nodes.index(source)
            ring = nodes[at:] + nodes[:at]  # of nodes with as little, the next
            node = min((n for n in ring if n not in on), key=load)
            steps.append(Step("copy", shard, node, source))
            on.add(node)
        while len(on) > replicas:
            node = max(on, key=lambda n: (load(n), n))
            steps.append(Step("drop", shard, node))
            on.remove(node)
    while True:
        fullest, emptiest = max(nodes, key=load), min(nodes, key=load)
        movable = [shard for shard, on in there.items() if fullest in on and emptiest not in on]
        if load(fullest) - load(emptiest) < 2 or not movable:
            return steps
        steps.append(Step("move", movable[0], emptiest, source=fullest))
        there[movable[0]] ^= {fullest, emptiest}


def scale(connection: Connection, collection: str, replicas: int, progress: Progress) -> int:
    """Bring a collection to so many replicas of each shard; return how many steps it took.

    Raises
    ------
    UnavailableError
        If a node does not answer, there are too few, or the server does not end a transfer.
    """
    topology = read_topology(connection, collection)
    if topology.silent:
        raise UnavailableError(
            connection.address, f"{topology.silent[0]} does not answer", "try again when every node does"
        )
    nodes = topology.nodes.keys() | {one.node for one in topology.replicas}
    if replicas > len(nodes):
        raise UnavailableError(
            connection.address, f"too few nodes for {replicas} replicas: {len(nodes)}", "add a node"
        )
    active = {
        shard: [one.node for one in there if one.state == ACTIVE] for shard, there in topology.shards.items()
    }
    waiting = [f"shard {shard}" for shard, on in active.items() if len(on) < len(topology.shards[shard])]
    if waiting or topology.transfers:
        raise UnavailableError(
            connection.address,
            f"{waiting[0] if waiting else 'a shard'} is still being brought up to date",
            "try again when serupa info shows all replicas as active",
        )
    steps = plan(active, nodes, replicas)
    before = _factor(connection, collection)
    if replicas < before:
        _set_factor(connection, collection, replicas)
    for number, step in enumerate(steps):
        progress(_told(step, topology), number, len(steps))
        _do(connection, collection, step)
    if replicas > before:
        _set_factor(connection, collection, replicas)
    return len(steps)


def _factor(connection: Connection, collection: str) -> int:
    info = connection.read(lambda client: client.get_collection(collection))
    return int(info.config.params.replication_factor or 1)


def _set_factor(connection: Connection, collection: str, replicas: int) -> None:
    from qdrant_client import models

    params = models.CollectionParamsDiff(replication_factor=replicas)
    connection.write(lambda client: client.update_collection(collection, collection_params=params))


def _told(step: Step, topology: Topology) -> str:
    verb = {"copy": "copying", "move": "moving", "drop": "dropping"}[step.kind]
    return f"{verb} shard {step.shard} {'from' if step.kind == 'drop' else 'to'} {topology.name(step.node)}"


def _do(connection: Connection, collection: str, step: Step) -> None:
    """Ask for a step, and wait until it is done; asked again where its answer was lost or it failed."""
    since, last, asked = time.monotonic(), -1.0, float("-inf")
    refused = ""
    while True:
        topology = read_topology(connection, collection)
        on = {one.node: one for one in topology.shards[step.shard]}
        target = on.get(step.node)
        if step.kind == "drop" and target is None:
            return
        moved = step.kind != "move" or step.source not in on
        if step.kind != "drop" and target is not None and target.state == ACTIVE and moved:
            return
        under_way = [one for one in topology.transfers if one.shard == step.shard]
        now = time.monotonic()
        if not under_way and now - asked > _ASK_AGAIN_S:
            if refused:
                raise UnavailableError(connection.address, refused)
            try:
                connection.write(
                    lambda client: client.cluster_collection_update(collection, _operation(step))
                )
            except (ExistsError, UnavailableError) as error:  # maybe of what a lost answer was to
                refused = str(error)
            asked = now
        done = under_way[0].done or 0.0 if under_way else -1.0
        if done != last:
            since, last = now, done
        elif now - since > _STALLED_S:
            raise UnavailableError(
                connection.address, f"shard {step.shard} of {collection} does not get to its new node"
            )
        time.sleep(_LOOK_EVERY_S)


def _operation(step: Step) -> Any:
    from qdrant_client import models

    match step.kind:
        case "copy":
            copied = models.ReplicateShard(
                shard_id=step.shard, to_peer_id=step.node, from_peer_id=step.source
            )
            return models.ReplicateShardOperation(replicate_shard=copied)
        case "move":
            moved = models.MoveShard(shard_id=step.shard, to_peer_id=step.node, from_peer_id=step.source)
            return models.MoveShardOperation(move_shard=moved)
        case "drop":
            dropped = models.Replica(shard_id=step.shard, peer_id=step.node)
            return models.DropReplicaOperation(drop_replica=dropped)
