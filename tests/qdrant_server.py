"""A small Qdrant server for tests: the client's own local mode behind the server's REST and gRPC interfaces.

Requests travel as they do to a real server, so that what is tested is everything of Serupa's and everything
of the client's. What it is not: the real engine (local mode compares with every point), nor a cluster.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
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

_LARGEST = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass
class Engine:
    """What both interfaces stand on, one request at a time; it counts them."""

    client: QdrantClient = field(default_factory=lambda: QdrantClient(":memory:"))
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: dict[str, int] = field(default_factory=dict)
    layouts: dict[str, dict[str, int]] = field(default_factory=dict)  # what collections were made with
    key: str | None = None

    def do(self, name: str, work: Callable[[QdrantClient], Any]) -> Any:
        with self.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.asked[name] = self.asked.get(name, 0) + 1
            return work(self.client)


class Server:
    """Where the server listens, and what it was asked."""

    def __init__(self, engine: Engine, port: int, grpc_port: int) -> None:
        self.engine, self.port, self.grpc_port = engine, port, grpc_port

    def address(self, name: str, **settings: object) -> str:
        settings = {"grpc_port": self.grpc_port} | settings
        query = "&".join(f"{key}={value}" for key, value in settings.items())
        return f"qdrant://127.0.0.1:{self.port}/{name}?{query}"


@contextmanager
def running(key: str | None = None) -> Iterator[Server]:
    """Run a server with nothing in it."""
    engine = Engine(key=key)
    handlers = (_Points(engine), _Collections(engine))
    rpc = grpc.server(futures.ThreadPoolExecutor(8), options=_LARGEST, interceptors=[_Keys(engine)])
    _register(handlers, rpc)
    grpc_port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    rest = uvicorn.Server(
        uvicorn.Config(_rest(engine), port=0, log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=rest.run, daemon=True)
    thread.start()
    while not rest.started:
        time.sleep(0.005)
    port = rest.servers[0].sockets[0].getsockname()[1]
    try:
        yield Server(engine, port, grpc_port)
    finally:
        rest.should_exit = True
        thread.join()
        rpc.stop(None).wait()


def _register(handlers: tuple[Any, Any], rpc: grpc.Server) -> None:
    from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc

    points_service_pb2_grpc.add_PointsServicer_to_server(handlers[0], rpc)
    collections_service_pb2_grpc.add_CollectionsServicer_to_server(handlers[1], rpc)


# --- REST


def _rest(engine: Engine) -> Starlette:
    def route(path: str, method: str, work: Callable[[QdrantClient, str, Any], Any]) -> Route:
        async def endpoint(request: Request) -> Response:
            if engine.key is not None and request.headers.get("api-key") != engine.key:
                return JSONResponse({"status": {"error": "Must provide an API key"}}, 401)
            name = request.path_params.get("name", "")
            body = await request.body()
            given = json.loads(body) if body else {}
            try:
                result = await run_in_threadpool(
                    engine.do, f"{method} {path}", lambda client: work(client, name, given)
                )
            except ValueError as error:
                status = 404 if "not found" in str(error) else 409 if "exists" in str(error) else 400
                return JSONResponse({"status": {"error": str(error)}, "time": 0.0}, status)
            return JSONResponse({"result": _jsonable(result), "status": "ok", "time": 0.0})

        return Route(path, endpoint, methods=[method])

    return Starlette(
        routes=[
            route("/collections", "GET", lambda c, _n, _b: c.get_collections()),
            route("/collections/aliases", "POST", _rest_aliases),
            route("/collections/{name}", "GET", lambda c, n, _b: c.get_collection(n)),
            route("/collections/{name}", "PUT", lambda c, n, b: _create(c, n, models.CreateCollection(**b))),
            route(
                "/collections/{name}", "PATCH", lambda c, n, b: c.update_collection(n, metadata=b["metadata"])
            ),
            route("/collections/{name}", "DELETE", lambda c, n, _b: c.delete_collection(n)),
            route("/aliases", "GET", lambda c, _n, _b: c.get_aliases()),
            route("/collections/{name}/index", "PUT", lambda _c, _n, _b: _done()),
            route("/collections/{name}/points", "PUT", _rest_upsert),
            route("/collections/{name}/points", "POST", _rest_retrieve),
            route("/collections/{name}/points/batch", "POST", _rest_batch),
            route("/collections/{name}/points/delete", "POST", _rest_delete),
            route("/collections/{name}/points/scroll", "POST", _rest_scroll),
            route("/collections/{name}/points/count", "POST", _rest_count),
            route("/collections/{name}/points/query/batch", "POST", _rest_query),
            route("/collections/{name}/facet", "POST", _rest_facet),
        ]
    )


def _jsonable(result: Any) -> Any:
    if isinstance(result, list):
        return [_jsonable(one) for one in result]
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else result


def _done() -> models.UpdateResult:
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _create(client: QdrantClient, name: str, body: models.CreateCollection) -> bool:
    return client.create_collection(name, vectors_config=body.vectors or {}, metadata=body.metadata)


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


def _rest_scroll(client: QdrantClient, name: str, body: Any) -> Any:
    a = models.ScrollRequest(**body)
    points, following = client.scroll(
        name, a.filter, a.limit or 10, a.order_by, a.offset, a.with_payload, a.with_vector or False
    )
    return {"points": _jsonable(points), "next_page_offset": following}


def _rest_count(client: QdrantClient, name: str, body: Any) -> Any:
    return client.count(name, models.CountRequest(**body).filter)


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
    engine: Engine, name: str, context: grpc.ServicerContext, work: Callable[[QdrantClient], Any]
) -> Any:
    try:
        return engine.do(name, work)
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


_LAYOUT = ("shard_number", "replication_factor", "write_consistency_factor")


class _Collections:
    """The part of the Collections service that Serupa uses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:  # what is not there
        return lambda _request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, name)

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        info = _answering(self._engine, "get", context, lambda c: c.get_collection(request.collection_name))
        for key, value in self._engine.layouts.get(request.collection_name, {}).items():
            setattr(info.config.params, key, value)
        return q.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))

    def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = _answering(self._engine, "list", context, lambda c: c.get_collections())
        return q.ListCollectionsResponse(
            collections=[q.CollectionDescription(name=one.name) for one in found.collections]
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
        metadata = GrpcToRest.convert_payload(request.metadata)
        name = request.collection_name
        made = _answering(
            self._engine,
            "create",
            context,
            lambda c: c.create_collection(name, vectors_config=vectors or {}, metadata=metadata),
        )
        self._engine.layouts[name] = {key: getattr(request, key) for key in _LAYOUT if request.HasField(key)}
        return q.CollectionOperationResponse(result=made)

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        metadata = GrpcToRest.convert_payload(request.metadata)
        name = request.collection_name
        done = _answering(
            self._engine, "update", context, lambda c: c.update_collection(name, metadata=metadata)
        )
        return q.CollectionOperationResponse(result=done)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        name = request.collection_name
        return q.CollectionOperationResponse(
            result=_answering(self._engine, "drop", context, lambda c: c.delete_collection(name))
        )

    def UpdateAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        actions = [GrpcToRest.convert_alias_operations(one) for one in request.actions]
        done = _answering(self._engine, "alias", context, lambda c: c.update_collection_aliases(actions))
        return q.CollectionOperationResponse(result=done)

    def ListAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = _answering(self._engine, "aliases", context, lambda c: c.get_aliases())
        return q.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(a) for a in found.aliases])


class _Points:
    """The part of the Points service that Serupa uses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return lambda _request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, name)

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        points = [GrpcToRest.convert_point_struct(one) for one in request.points]
        _answering(self._engine, "upsert", context, lambda c: c.upsert(request.collection_name, points))
        return q.PointsOperationResponse(result=_updated())

    def UpdateBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        operations = [GrpcToRest.convert_points_update_operation(one) for one in request.operations]
        _answering(
            self._engine,
            "batch",
            context,
            lambda c: c.batch_update_points(request.collection_name, operations),
        )
        return q.UpdateBatchResponse(result=[_updated() for _ in operations])

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        going = GrpcToRest.convert_points_selector(request.points)
        _answering(self._engine, "delete", context, lambda c: c.delete(request.collection_name, going))
        return q.PointsOperationResponse(result=_updated())

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        _answering(self._engine, "index", context, lambda c: c.get_collection(request.collection_name))
        return q.PointsOperationResponse(result=_updated())

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        records = _answering(
            self._engine,
            "retrieve",
            context,
            lambda c: c.retrieve(
                request.collection_name,
                [GrpcToRest.convert_point_id(one) for one in request.ids],
                GrpcToRest.convert_with_payload_interface(request.with_payload),
                GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            ),
        )
        return q.GetResponse(result=[RestToGrpc.convert_record(one) for one in records])

    def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802
        order = GrpcToRest.convert_order_by(request.order_by) if request.HasField("order_by") else None
        offset = GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None
        records, following = _answering(
            self._engine,
            "scroll",
            context,
            lambda c: c.scroll(
                request.collection_name,
                _filter(request),
                request.limit,
                order,
                offset,
                GrpcToRest.convert_with_payload_interface(request.with_payload),
                GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            ),
        )
        return q.ScrollResponse(
            result=[RestToGrpc.convert_record(one) for one in records],
            next_page_offset=None if following is None else RestToGrpc.convert_extended_point_id(following),
        )

    def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = _answering(
            self._engine, "count", context, lambda c: c.count(request.collection_name, _filter(request))
        )
        return q.CountResponse(result=q.CountResult(count=found.count))

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        searches = [GrpcToRest.convert_query_points(one) for one in request.query_points]
        answers = _answering(
            self._engine, "query", context, lambda c: c.query_batch_points(request.collection_name, searches)
        )
        return q.QueryBatchResponse(
            result=[
                q.BatchResult(result=[RestToGrpc.convert_scored_point(point) for point in one.points])
                for one in answers
            ]
        )

    def Facet(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = _answering(
            self._engine,
            "facet",
            context,
            lambda c: c.facet(request.collection_name, request.key, _filter(request), request.limit),
        )
        return q.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(one) for one in found.hits])
