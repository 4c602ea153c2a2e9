"""A small Qdrant server or cluster for tests: the client's own local mode behind REST and gRPC interfaces.

Requests travel as they do to a real server, so that what is tested is everything of Serupa's and everything
of the client's. What it is not: the real engine (local mode compares with every point).

A cluster is several nodes behind one state. A node can be away, hang, be slow, lose answers after having done
the work, come back behind the others, and lack points of its replicas. Shards lie on nodes as they would:
what lies only on nodes that are away cannot be read, and without a majority nothing is decided.
"""

from __future__ import annotations

import copy
import hashlib
import json
import socket
import tarfile
import tempfile
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvicorn
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serupa.catalog.words import terms_of
from serupa.storage.engine import point_of, point_uuid
from serupa.storage.local.snapshot import points_of_snapshot
from serupa.storage.local.store import LocalStore

_LARGEST = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


_LAYOUT = ("shard_number", "replication_factor", "write_consistency_factor")
_READS = {"retrieve", "scroll", "count", "query", "facet"}
_WRITES = {"upsert", "batch", "delete", "index"}
_DECISIONS = {"create", "update", "drop", "alias", "setup"}


class AwayError(Exception):
    """The node does not answer."""


class FailedError(Exception):
    """The node answers that it could not do it."""


@dataclass
class Engine:
    """What all interfaces stand on, one request at a time; it counts them."""

    client: QdrantClient = field(default_factory=lambda: QdrantClient(":memory:"))
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: dict[str, int] = field(default_factory=dict)
    layouts: dict[str, dict[str, int]] = field(default_factory=dict)  # what collections were made with
    placements: dict[str, dict[int, dict[int, str]]] = field(default_factory=dict)  # state by shard and node
    transfers: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    indexes: dict[str, dict[str, models.PayloadIndexInfo]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    key: str | None = None

    def real(self, name: str) -> str:
        """Return the collection that an alias stands for."""
        aliases = {one.alias_name: one.collection_name for one in self.client.get_aliases().aliases}
        return aliases.get(name, name)

    def create(self, name: str, layout: dict[str, int], **settings: Any) -> bool:
        made = self.client.create_collection(name, **settings)
        count = len(self.nodes)
        shards, replicas = layout.setdefault("shard_number", count), layout.get("replication_factor", 1)
        self.layouts[name] = layout
        self.placements[name] = {
            shard: {(shard + more) % count: "Active" for more in range(min(replicas, count))}
            for shard in range(shards)
        }
        return made

    def drop(self, name: str) -> bool:
        for kept in (self.layouts, self.placements, self.transfers, self.indexes):
            kept.pop(name, None)
        return self.client.delete_collection(name)

    def info(self, name: str) -> models.CollectionInfo:
        info = self.client.get_collection(name).model_copy(deep=True)
        for key, value in self.layouts.get(self.real(name), {}).items():
            setattr(info.config.params, key, value)
        info.payload_schema = dict(self.indexes.get(self.real(name), {}))
        return info

    def index(self, name: str, key: str, kind: str) -> models.UpdateResult:
        self.client.get_collection(name)
        info = models.PayloadIndexInfo(data_type=models.PayloadSchemaType(kind), points=0)
        self.indexes.setdefault(self.real(name), {})[key] = info
        return _done()

    def points_of(self, name: str, shard: int) -> list[Any]:
        """Return the points that are dealt to a shard, by their ids."""
        vectors = list(self.client.get_collection(name).config.params.vectors)
        found, _ = self.client.scroll(name, limit=10**6, with_payload=True, with_vectors=vectors)
        shards = len(self.placements[name])
        return [point for point in found if zlib.crc32(str(point.id).encode()) % shards == shard]

    def cluster_info(self, name: str, node: Node) -> models.CollectionClusterInfo:
        name = self.real(name)
        self.client.get_collection(name)
        here, there = [], []
        self._advance(name)
        for shard, replicas in self.placements[name].items():
            for number, state in replicas.items():
                peer = self.nodes[number]
                told = {"shard_id": shard, "state": "Dead" if peer.away else state}
                if peer is node:
                    count = len(node.shown(self.points_of(name, shard)))
                    here.append(models.LocalShardInfo(points_count=count, **told))
                else:
                    there.append(models.RemoteShardInfo(peer_id=peer.peer, **told))
        return models.CollectionClusterInfo(
            peer_id=node.peer,
            shard_count=len(self.placements[name]),
            local_shards=here,
            remote_shards=there,
            shard_transfers=[
                models.ShardTransferInfo(
                    shard_id=one["shard"],
                    to=self.nodes[one["to"]].peer,
                    sync=not one["moves"],
                    **{"from": self.nodes[one["from"]].peer},
                )
                for one in self.transfers.get(name, ())
            ],
        )

    def snapshot(self, name: str, shard: int) -> bytes:
        """Return what the embedded engine keeps of a shard's points as a snapshot does."""
        points = [point_of(one) for one in self.points_of(name, shard)]
        sizes = {n: one.size for n, one in self.client.get_collection(name).config.params.vectors.items()}
        with tempfile.TemporaryDirectory() as folder:
            store = LocalStore(Path(folder) / "shard", sizes)
            store.upsert(points)
            store.close()
            file = Path(folder) / "snapshot"
            with tarfile.open(file, "w") as archive:
                archive.add(Path(folder) / "shard", arcname=".")
            return file.read_bytes()

    def recover(self, name: str, shard: int, data: bytes) -> None:
        """Let a shard be what a snapshot holds."""
        params = self.client.get_collection(name).config.params
        vectors = tuple(params.vectors)

        def words(payload: Any) -> dict[str, Any]:
            terms = terms_of(payload)
            sparse = models.SparseVector(indices=list(terms), values=list(terms.values()))
            return dict.fromkeys(params.sparse_vectors or (), sparse)

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "snapshot"
            file.write_bytes(data)
            for batch in points_of_snapshot(file, Path(folder) / "shard", vectors):
                points = [
                    models.PointStruct(
                        id=point_uuid(p.id),
                        vector={n: v.tolist() for n, v in p.vectors.items()} | words(p.payload),
                        payload=dict(p.payload),
                    )
                    for p in batch
                ]
                self.client.upsert(name, points)

    def _advance(self, name: str) -> None:
        """Bring every transfer nearer to its end: it takes as many questions as it was given."""
        for one in list(self.transfers.get(name, ())):
            one["left"] -= 1
            if one["left"] <= 0:
                self.transfers[name].remove(one)
                self.placements[name][one["shard"]][one["to"]] = "Active"
                if one["moves"]:
                    del self.placements[name][one["shard"]][one["from"]]

    def setup(self, name: str, operation: Any) -> bool:
        name = self.real(name)
        numbers = {node.peer: number for number, node in enumerate(self.nodes)}
        match operation:
            case (
                models.ReplicateShardOperation(replicate_shard=asked)
                | models.MoveShardOperation(move_shard=asked)
            ):
                replicas = self.placements[name][asked.shard_id]
                target, source = numbers[asked.to_peer_id], numbers[asked.from_peer_id]
                if target in replicas or replicas.get(source) != "Active":
                    raise ValueError("Bad request: the shard cannot be transferred so")
                replicas[target] = "Partial"
                moves = isinstance(operation, models.MoveShardOperation)
                self.transfers.setdefault(name, []).append(
                    {"shard": asked.shard_id, "from": source, "to": target, "moves": moves, "left": 3}
                )
            case models.DropReplicaOperation(drop_replica=asked):
                replicas = self.placements[name][asked.shard_id]
                if len(replicas) == 1:
                    raise ValueError("Bad request: the last replica cannot be dropped")
                del replicas[numbers[asked.peer_id]]
            case _:
                raise ValueError("Bad request: unknown operation")
        return True


@dataclass
class Node:
    """A node, and how it fails.

    Parameters
    ----------
    away, hangs : bool
        Whether it refuses requests, or keeps them until it does not hang any more.
    slow_s : float
        What it takes before it begins.
    loses : set of str
        What is answered next time without anybody hearing it, the work having been done.
    lacks : set of str
        Ids of points that its replicas lack.
    """

    number: int
    engine: Engine
    away: bool = False
    hangs: bool = False
    slow_s: float = 0.0
    loses: set[str] = field(default_factory=set)
    lacks: set[str] = field(default_factory=set)
    behind: Any = None
    asked: int = 0

    @property
    def peer(self) -> int:
        return 7_000_000_000_000_000 + self.number

    @property
    def works(self) -> bool:
        return not self.away and not self.hangs

    def leave(self) -> None:
        """Go away; what is decided from now on it does not know."""
        with self.engine.lock:
            self.behind = copy.deepcopy(
                (
                    self.engine.client.get_collections(),
                    self.engine.client.get_aliases(),
                    {n: self.engine.info(n) for n in self.engine.placements},
                )
            )
            self.away = True

    def come_back(self, caught_up: bool = True) -> None:
        """Answer again; not caught up, with what was so when it left."""
        if caught_up:
            self.behind = None
        self.away = False

    def do(self, name: str, collection: str, work: Callable[[QdrantClient], Any]) -> Any:
        """Do what was asked for, or fail as told to."""
        self.asked += 1
        if self.slow_s:
            time.sleep(self.slow_s)
        while self.hangs and not self.away:
            time.sleep(0.01)
        if self.away:
            raise AwayError
        engine = self.engine
        with engine.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.asked[name] = engine.asked.get(name, 0) + 1
            if self.behind is not None and (found := self._from_before(name, collection)) is not None:
                return found
            self._require(name, collection)
            answer = work(engine.client)
        if name in self.loses:
            self.loses.remove(name)
            raise AwayError
        return answer

    def _from_before(self, name: str, collection: str) -> Any:
        collections, aliases, infos = self.behind
        if name == "list":
            return collections
        if name == "aliases":
            return aliases
        if name == "get":
            real = {a.alias_name: a.collection_name for a in aliases.aliases}.get(collection, collection)
            if real not in infos:
                raise ValueError(f"Collection {collection} not found")
            return infos[real]
        return None

    def _require(self, name: str, collection: str) -> None:
        """Fail where too few nodes are there for it."""
        nodes = self.engine.nodes
        if name in _DECISIONS and 2 * sum(node.works for node in nodes) <= len(nodes):
            raise FailedError("Service internal error: no leader: waiting for consensus timed out")
        if name in _READS | _WRITES:
            real = self.engine.real(collection)
            needed = (
                1 if name in _READS else self.engine.layouts.get(real, {}).get("write_consistency_factor", 1)
            )
            for replicas in self.engine.placements.get(real, {}).values():
                there = sum(nodes[n].works for n, state in replicas.items() if state == "Active")
                if there < needed:
                    what = "read operations" if name in _READS else "replicas"
                    raise FailedError(
                        f"Service internal error: {len(replicas)} of {len(replicas)} {what} failed"
                    )

    def shown(self, records: Any) -> Any:
        """Return what of these points its replicas have."""
        return [one for one in records if (one.payload or {}).get("id") not in self.lacks]


class Server:
    """Where the server listens, and what it was asked."""

    def __init__(self, engine: Engine, ports: list[tuple[int, int]]) -> None:
        self.engine, self.ports = engine, ports
        self.nodes = engine.nodes
        self.port, self.grpc_port = ports[0]

    def address(self, name: str, **settings: object) -> str:
        """Return the address of a catalogue, with every node in it."""
        if len(self.ports) == 1:
            settings = {"grpc_port": self.grpc_port} | settings
        query = "&".join(f"{key}={value}" for key, value in settings.items())
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in self.ports)
        return f"qdrant://{hosts}/{name}" + (f"?{query}" if query else "")


@contextmanager
def running(key: str | None = None, nodes: int = 1) -> Iterator[Server]:
    """Run a server, or a cluster, with nothing in it."""
    engine = Engine(key=key)
    engine.nodes += [Node(number, engine) for number in range(nodes)]
    with ExitStack() as stack:
        ports = [stack.enter_context(_listening(node)) for node in engine.nodes]
        yield Server(engine, ports)
        for node in engine.nodes:
            node.away = True  # lets go of what hangs


@contextmanager
def _listening(node: Node) -> Iterator[tuple[int, int]]:
    handlers = (_Points(node), _Collections(node))
    rpc = grpc.server(futures.ThreadPoolExecutor(16), options=_LARGEST, interceptors=[_Keys(node.engine)])
    _register(handlers, rpc)
    while True:  # as on a real one, the port for gRPC is the next
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port + 1)).close()
            grpc_port = rpc.add_insecure_port(f"127.0.0.1:{port + 1}")
            break
        listening.close()
    rpc.start()
    rest = uvicorn.Server(uvicorn.Config(_rest(node), log_level="error", access_log=False, lifespan="off"))
    thread = threading.Thread(target=rest.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not rest.started:
        time.sleep(0.005)
    try:
        yield port, grpc_port
    finally:
        rest.should_exit = True
        thread.join()
        rpc.stop(None).wait()


def _register(handlers: tuple[Any, Any], rpc: grpc.Server) -> None:
    from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc

    points_service_pb2_grpc.add_PointsServicer_to_server(handlers[0], rpc)
    collections_service_pb2_grpc.add_CollectionsServicer_to_server(handlers[1], rpc)


# --- REST


def _rest(node: Node) -> Starlette:
    engine = node.engine

    def route(path: str, method: str, name: str, work: Callable[[QdrantClient, str, Any], Any]) -> Route:
        async def endpoint(request: Request) -> Response:
            if engine.key is not None and request.headers.get("api-key") != engine.key:
                return JSONResponse({"status": {"error": "Must provide an API key"}}, 401)
            collection = request.path_params.get("name", "")
            body = await request.body()
            given = json.loads(body) if body else {}
            try:
                result = await run_in_threadpool(
                    node.do, name, collection, lambda client: work(client, collection, given)
                )
            except ValueError as error:
                status = 404 if "not found" in str(error) else 409 if "exists" in str(error) else 400
                return JSONResponse({"status": {"error": str(error)}, "time": 0.0}, status)
            except FailedError as error:
                return JSONResponse({"status": {"error": str(error)}, "time": 0.0}, 500)
            except AwayError:
                return Response(status_code=503)
            return JSONResponse({"result": _jsonable(result), "status": "ok", "time": 0.0})

        return Route(path, endpoint, methods=[method])

    async def ready(_request: Request) -> Response:
        return Response(status_code=200 if node.works and node.behind is None else 503)

    def cluster(_c: QdrantClient, _n: str, _b: Any) -> Any:
        if len(engine.nodes) == 1:
            return {"status": "disabled"}
        return {
            "status": "enabled",
            "peer_id": node.peer,
            "peers": {str(one.peer): {"uri": f"http://node-{one.number}:6335/"} for one in engine.nodes},
            "raft_info": {"term": 1, "commit": 1, "pending_operations": 0, "is_voter": True},
            "consensus_thread_status": {
                "consensus_thread_status": "working",
                "last_update": "2026-01-01T00:00:00Z",
            },
            "message_send_failures": {},
        }

    async def snapshot(request: Request) -> Response:
        name, shard = request.path_params["name"], request.path_params["shard"]
        if not node.works or node.number not in engine.placements[name][shard]:
            return Response("no such shard here", status_code=404)
        return Response(await run_in_threadpool(engine.snapshot, name, shard))

    async def recover(request: Request) -> Response:
        name, shard = request.path_params["name"], request.path_params["shard"]
        form = await request.form()
        data = await form["snapshot"].read()
        if hashlib.sha256(data).hexdigest() != request.query_params["checksum"]:
            return Response("wrong checksum", status_code=400)
        await run_in_threadpool(engine.recover, name, shard, data)
        return JSONResponse({"result": True, "status": "ok", "time": 0.0})

    name = "/collections/{name}"
    return Starlette(
        routes=[
            Route("/readyz", ready),
            Route(f"{name}/shards/{{shard:int}}/snapshot", snapshot),
            Route(f"{name}/shards/{{shard:int}}/snapshots/upload", recover, methods=["POST"]),
            route("/cluster", "GET", "cluster", cluster),
            route("/collections", "GET", "list", lambda c, _n, _b: c.get_collections()),
            route("/collections/aliases", "POST", "alias", _rest_aliases),
            route(name, "GET", "get", lambda _c, n, _b: engine.info(n)),
            route(name, "PUT", "create", lambda _c, n, b: _rest_create(engine, n, b)),
            route(
                name,
                "PATCH",
                "update",
                lambda _c, n, b: _update(engine, n, b.get("metadata"), b.get("params")),
            ),
            route(name, "DELETE", "drop", lambda _c, n, _b: engine.drop(n)),
            route(f"{name}/cluster", "GET", "layout", lambda _c, n, _b: engine.cluster_info(n, node)),
            route(f"{name}/cluster", "POST", "setup", lambda _c, n, b: engine.setup(n, _operation(b))),
            route("/aliases", "GET", "aliases", lambda c, _n, _b: c.get_aliases()),
            route(
                f"{name}/index",
                "PUT",
                "index",
                lambda _c, n, b: engine.index(
                    n, b["field_name"], models.PayloadSchemaType(b["field_schema"])
                ),
            ),
            route(f"{name}/points", "PUT", "upsert", _rest_upsert),
            route(f"{name}/points", "POST", "retrieve", lambda c, n, b: node.shown(_rest_retrieve(c, n, b))),
            route(f"{name}/points/batch", "POST", "batch", _rest_batch),
            route(f"{name}/points/delete", "POST", "delete", _rest_delete),
            route(f"{name}/points/scroll", "POST", "scroll", lambda c, n, b: _rest_scroll(node, c, n, b)),
            route(f"{name}/points/count", "POST", "count", lambda c, n, b: _rest_count(node, c, n, b)),
            route(f"{name}/points/query/batch", "POST", "query", _rest_query),
            route(f"{name}/facet", "POST", "facet", _rest_facet),
        ]
    )


def _operation(body: Any) -> Any:
    kinds = {
        "move_shard": models.MoveShardOperation,
        "replicate_shard": models.ReplicateShardOperation,
        "drop_replica": models.DropReplicaOperation,
    }
    (kind,) = body
    return kinds[kind](**body)


def _update(engine: Engine, name: str, metadata: Any, params: Any) -> bool:
    if params:
        engine.layouts[engine.real(name)] |= params
    return engine.client.update_collection(name, metadata=metadata) if metadata else True


def _jsonable(result: Any) -> Any:
    if isinstance(result, list):
        return [_jsonable(one) for one in result]
    return result.model_dump(mode="json", by_alias=True) if hasattr(result, "model_dump") else result


def _done() -> models.UpdateResult:
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _rest_create(engine: Engine, name: str, body: Any) -> bool:
    asked = models.CreateCollection(**body)
    layout = {key: body[key] for key in _LAYOUT if body.get(key) is not None}
    return engine.create(
        name,
        layout,
        vectors_config=asked.vectors or {},
        sparse_vectors_config=asked.sparse_vectors,
        metadata=asked.metadata,
    )


def _rest_aliases(client: QdrantClient, _name: str, body: Any) -> Any:
    return client.update_collection_aliases(models.ChangeAliasesOperation(**body).actions)


def _rest_upsert(client: QdrantClient, name: str, body: Any) -> Any:
    return client.upsert(name, models.PointsList(**body).points)


def _rest_retrieve(client: QdrantClient, name: str, body: Any) -> Any:
    asked = models.PointRequest(**body)
    return client.retrieve(name, asked.ids, asked.with_payload, asked.with_vector)


def _rest_batch(client: QdrantClient, name: str, body: Any) -> Any:
    client.batch_update_points(name, models.UpdateOperations(**body).operations)
    return [_done() for _ in body["operations"]]


def _rest_delete(client: QdrantClient, name: str, body: Any) -> Any:
    return client.delete(name, models.PointIdsList(**body))


def _rest_scroll(node: Node, client: QdrantClient, name: str, body: Any) -> Any:
    a = models.ScrollRequest(**body)
    points, following = client.scroll(
        name, a.filter, a.limit or 10, a.order_by, a.offset, a.with_payload, a.with_vector or False
    )
    return {"points": _jsonable(node.shown(points)), "next_page_offset": following}


def _rest_count(node: Node, client: QdrantClient, name: str, body: Any) -> Any:
    found, _ = client.scroll(name, models.CountRequest(**body).filter, 10**6)
    return models.CountResult(count=len(node.shown(found)))


def _rest_query(client: QdrantClient, name: str, body: Any) -> Any:
    return client.query_batch_points(name, models.QueryRequestBatch(**body).searches)


def _rest_facet(client: QdrantClient, name: str, body: Any) -> Any:
    a = models.FacetRequest(**body)
    return client.facet(name, a.key, a.filter, a.limit or 10)


# --- gRPC


class _Keys(grpc.ServerInterceptor):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._refuse = grpc.unary_unary_rpc_method_handler(
            lambda _request, context: context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key"
            )
        )

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        key = dict(details.invocation_metadata).get("api-key")
        return continuation(details) if self._engine.key in (None, key) else self._refuse


def _answering(
    node: Node,
    name: str,
    context: grpc.ServicerContext,
    work: Callable[[QdrantClient], Any],
    collection: str = "",
) -> Any:
    try:
        return node.do(name, collection, work)
    except AwayError:
        context.abort(grpc.StatusCode.UNAVAILABLE, "Connection refused")
    except FailedError as error:
        context.abort(grpc.StatusCode.INTERNAL, str(error))
    except ValueError as error:
        code = grpc.StatusCode.INVALID_ARGUMENT
        if "not found" in str(error):
            code = grpc.StatusCode.NOT_FOUND
        if "exists" in str(error):
            code = grpc.StatusCode.ALREADY_EXISTS
        context.abort(code, str(error))


def _filter(request: Any, name: str = "filter") -> models.Filter | None:
    return GrpcToRest.convert_filter(getattr(request, name)) if request.HasField(name) else None


def _updated(count: int = 1) -> Any:
    result = q.UpdateResult(operation_id=0, status=q.UpdateStatus.Completed)
    return result if count == 1 else [result] * count


class _Collections:
    """The part of the Collections service that Serupa uses."""

    def __init__(self, node: Node) -> None:
        self._node, self._engine = node, node.engine

    def __getattr__(self, name: str) -> Any:  # what is not there
        return lambda _request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, name)

    def _do(self, name: str, request: Any, context: Any, work: Callable[[QdrantClient], Any]) -> Any:
        return _answering(self._node, name, context, work, getattr(request, "collection_name", ""))

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        info = self._do("get", request, context, lambda _: self._engine.info(request.collection_name))
        return q.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))

    def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self._do("list", request, context, lambda c: c.get_collections())
        return q.ListCollectionsResponse(
            collections=[q.CollectionDescription(name=one.name) for one in found.collections]
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
        sparse = GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config)
        metadata = GrpcToRest.convert_payload(request.metadata)
        layout = {key: getattr(request, key) for key in _LAYOUT if request.HasField(key)}
        made = self._do(
            "create",
            request,
            context,
            lambda _: self._engine.create(
                request.collection_name,
                layout,
                vectors_config=vectors or {},
                sparse_vectors_config=sparse or None,
                metadata=metadata,
            ),
        )
        return q.CollectionOperationResponse(result=made)

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        metadata = GrpcToRest.convert_payload(request.metadata)
        params = {key: getattr(request.params, key) for key in _LAYOUT[1:] if request.params.HasField(key)}
        done = self._do(
            "update",
            request,
            context,
            lambda _: _update(self._engine, request.collection_name, metadata, params),
        )
        return q.CollectionOperationResponse(result=done)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        done = self._do("drop", request, context, lambda _: self._engine.drop(request.collection_name))
        return q.CollectionOperationResponse(result=done)

    def UpdateAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        actions = [GrpcToRest.convert_alias_operations(one) for one in request.actions]
        done = self._do("alias", request, context, lambda c: c.update_collection_aliases(actions))
        return q.CollectionOperationResponse(result=done)

    def ListAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self._do("aliases", request, context, lambda c: c.get_aliases())
        return q.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(a) for a in found.aliases])

    def CollectionClusterInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self._do(
            "layout",
            request,
            context,
            lambda _: self._engine.cluster_info(request.collection_name, self._node),
        )
        return RestToGrpc.convert_collection_cluster_info(found)

    def UpdateCollectionClusterSetup(self, request: Any, context: Any) -> Any:  # noqa: N802
        operation = GrpcToRest.convert_cluster_operations(getattr(request, request.WhichOneof("operation")))
        done = self._do(
            "setup", request, context, lambda _: self._engine.setup(request.collection_name, operation)
        )
        return q.UpdateCollectionClusterSetupResponse(result=done)


class _Points:
    """The part of the Points service that Serupa uses."""

    def __init__(self, node: Node) -> None:
        self._node, self._engine = node, node.engine

    def __getattr__(self, name: str) -> Any:
        return lambda _request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, name)

    def _do(self, name: str, request: Any, context: Any, work: Callable[[QdrantClient, str], Any]) -> Any:
        collection = request.collection_name
        return _answering(self._node, name, context, lambda client: work(client, collection), collection)

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        points = [GrpcToRest.convert_point_struct(one) for one in request.points]
        self._do("upsert", request, context, lambda c, name: c.upsert(name, points))
        return q.PointsOperationResponse(result=_updated())

    def UpdateBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        operations = [GrpcToRest.convert_points_update_operation(one) for one in request.operations]
        self._do("batch", request, context, lambda c, name: c.batch_update_points(name, operations))
        return q.UpdateBatchResponse(result=[_updated() for _ in operations])

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        going = GrpcToRest.convert_points_selector(request.points)
        self._do("delete", request, context, lambda c, name: c.delete(name, going))
        return q.PointsOperationResponse(result=_updated())

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind = (
            models.PayloadSchemaType.KEYWORD
            if request.field_type == q.FieldType.FieldTypeKeyword
            else models.PayloadSchemaType.FLOAT
        )
        self._do(
            "index", request, context, lambda _, name: self._engine.index(name, request.field_name, kind)
        )
        return q.PointsOperationResponse(result=_updated())

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        records = self._do(
            "retrieve",
            request,
            context,
            lambda c, name: c.retrieve(
                name,
                [GrpcToRest.convert_point_id(one) for one in request.ids],
                GrpcToRest.convert_with_payload_interface(request.with_payload),
                GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            ),
        )
        return q.GetResponse(result=[RestToGrpc.convert_record(one) for one in self._node.shown(records)])

    def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802
        order = GrpcToRest.convert_order_by(request.order_by) if request.HasField("order_by") else None
        offset = GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None
        records, following = self._do(
            "scroll",
            request,
            context,
            lambda c, name: c.scroll(
                name,
                _filter(request),
                request.limit,
                order,
                offset,
                GrpcToRest.convert_with_payload_interface(request.with_payload),
                GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            ),
        )
        return q.ScrollResponse(
            result=[RestToGrpc.convert_record(one) for one in self._node.shown(records)],
            next_page_offset=None if following is None else RestToGrpc.convert_extended_point_id(following),
        )

    def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        found, _ = self._do(
            "count", request, context, lambda c, name: c.scroll(name, _filter(request), 10**6)
        )
        return q.CountResponse(result=q.CountResult(count=len(self._node.shown(found))))

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        searches = [GrpcToRest.convert_query_points(one) for one in request.query_points]
        answers = self._do("query", request, context, lambda c, name: c.query_batch_points(name, searches))
        return q.QueryBatchResponse(
            result=[
                q.BatchResult(result=[RestToGrpc.convert_scored_point(point) for point in one.points])
                for one in answers
            ]
        )

    def Facet(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self._do(
            "facet",
            request,
            context,
            lambda c, name: c.facet(name, request.key, _filter(request), request.limit),
        )
        return q.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(one) for one in found.hits])
