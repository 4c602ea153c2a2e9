"""A store on a Qdrant server or cluster: one collection, reached by gRPC or REST."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import ConflictError, DamagedError, InvalidInputError
from serupa.filters import Condition, Filter, Scalar
from serupa.items import FieldKind
from serupa.storage.base import Examples, Neighbor, Point, grouped, nearest_likes, payload_key
from serupa.storage.local.store import point_uuid
from serupa.storage.manifest import StoreLayout
from serupa.storage.qdrant.client import Connection, MissingError
from serupa.vectors import Metric, Vector

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

# Lighter than embedded (store/edge.py): a server deals points into segments, a graph each, and searches them
# at once. Not measured on a server yet.
_M = 16
_EF_CONSTRUCT = 128
_EF_SEARCH = 200
_OVERSAMPLING = 2.0

_REQUEST_BYTES = 4 * 2**20  # of vectors in one request: far below what a server refuses, enough to fill it
_LOOKUP = 1_000  # ids in one request


def create_collection(
    connection: Connection,
    collection: str,
    dimensions: Mapping[str, int],
    layout: StoreLayout,
    metadata: Mapping[str, Any],
) -> None:
    """Make a collection with one named vector a metric; ``raw`` is kept and never searched.

    Raises
    ------
    ExistsError
        If there is one of this name.
    UnavailableError
        If the server refuses.
    """
    from qdrant_client import models

    distances = {
        "cosine": models.Distance.COSINE,
        "euclidean": models.Distance.EUCLID,
        "manhattan": models.Distance.MANHATTAN,
        "raw": models.Distance.DOT,
    }
    vectors = {
        name: models.VectorParams(
            size=size,
            distance=distances[name],
            on_disk=layout.on_disk or name == "raw",
            hnsw_config=models.HnswConfigDiff(m=0) if name == "raw" else None,
            quantization_config=None if name == "raw" else _quantization(layout),
        )
        for name, size in dimensions.items()
    }
    connection.write(
        lambda client: client.create_collection(
            collection,
            vectors_config=vectors,
            shard_number=layout.shards,
            replication_factor=layout.replicas,
            write_consistency_factor=layout.write_consistency,
            on_disk_payload=True,
            hnsw_config=models.HnswConfigDiff(m=_M, ef_construct=_EF_CONSTRUCT),
            metadata=dict(metadata),
        )
    )


def _quantization(layout: StoreLayout) -> Any:
    from qdrant_client import models

    if layout.quantization == "int8":
        return models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        )
    if layout.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    return None


class QdrantStore:
    """The points of one collection. Any number of processes may read and write it at once.

    Parameters
    ----------
    connection : Connection
        Shared with whoever made it, who closes it.
    collection : str
        It is there already.
    written : callable, optional
        Called after each change, before it is acknowledged; what it raises is the caller's to hear.
    """

    def __init__(
        self, connection: Connection, collection: str, written: Callable[[], None] = lambda: None
    ) -> None:
        from qdrant_client import models

        self._models = models
        self._connection = connection
        self.collection = collection
        self._written = written
        params = self._info().config.params.vectors
        self._names = set(params) if isinstance(params, dict) else set()
        self._indexes: dict[str, models.PayloadSchemaType] | None = None

    def _info(self) -> models.CollectionInfo:
        try:
            return self._connection.read(lambda client: client.get_collection(self.collection))
        except MissingError:
            raise DamagedError(
                self._connection.address,
                f"the collection {self.collection} is missing",
                "restore it from a snapshot, or index anew",
            ) from None

    def upsert(self, points: Sequence[Point]) -> None:
        m = self._models
        for point in points:
            for name, vector in point.vectors.items():
                if not np.isfinite(vector).all():
                    raise InvalidInputError(point.id, f"its {name} vector holds NaN or infinity")
        if not points:
            return
        size = sum(vector.nbytes for vector in points[0].vectors.values()) or 1
        at_once = max(1, _REQUEST_BYTES // size)
        for start in range(0, len(points), at_once):
            batch = [
                m.PointStruct(
                    id=point_uuid(point.id),
                    vector={n: np.asarray(v, np.float32).tolist() for n, v in point.vectors.items()},
                    payload=dict(point.payload),
                )
                for point in points[start : start + at_once]
            ]
            self._put(batch)
        self._written()

    def _put(self, batch: list[Any]) -> None:
        self._change(lambda client: client.upsert(self.collection, batch, wait=True))

    def replace_payloads(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        m = self._models
        if not payloads:
            return
        operations = [
            m.OverwritePayloadOperation(
                overwrite_payload=m.SetPayload(payload=dict(payload), points=[point_uuid(payload["id"])])
            )
            for payload in payloads
        ]
        self._change(lambda client: client.batch_update_points(self.collection, operations, wait=True))
        self._written()

    def delete(self, ids: Sequence[str]) -> None:
        m = self._models
        if not ids:
            return
        for batch in grouped(ids, _LOOKUP):
            self._remove(m.PointIdsList(points=[point_uuid(i) for i in batch]))
        self._written()

    def _remove(self, going: Any) -> None:
        self._change(lambda client: client.delete(self.collection, going, wait=True))

    def _change(self, change: Callable[[QdrantClient], object]) -> None:
        try:
            self._connection.write(change)
        except MissingError as error:
            raise ConflictError(
                self._connection.address, f"{error}: it was switched over meanwhile", "try again"
            ) from None

    def get(self, ids: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Point]:
        found: dict[str, Point] = {}
        for batch in grouped(ids, _LOOKUP if not vectors else 256):
            found |= {point.id: point for point in map(_point, self._retrieve(batch, vectors))}
        return found

    def _retrieve(self, ids: Sequence[str], vectors: Sequence[str]) -> list[models.Record]:
        keys = [point_uuid(i) for i in ids]
        return self._connection.read(
            lambda client: client.retrieve(
                self.collection, keys, with_payload=True, with_vectors=list(vectors) or False
            )
        )

    def scroll(
        self,
        where: Filter = (),
        *,
        vectors: Sequence[str] = (),
        batch: int = 256,
        after: str | None = None,
    ) -> Iterator[list[Point]]:
        offset = None if after is None else point_uuid(after)  # from this one on, itself included
        while True:
            records, offset = self._page(where, limit=batch, offset=offset, vectors=vectors)
            points = [point for point in map(_point, records) if point.id != after]
            if points:
                yield points
            if offset is None:
                return

    def _page(
        self, where: Filter, *, limit: int, vectors: Sequence[str] = (), offset: Any = None, order: Any = None
    ) -> tuple[list[models.Record], Any]:
        return self._connection.read(
            lambda client: client.scroll(
                self.collection,
                scroll_filter=self._filter(where),
                limit=limit,
                offset=offset,
                order_by=order,
                with_payload=True,
                with_vectors=list(vectors) or False,
            )
        )

    def search(
        self,
        vectors: NDArray[np.float32],
        metric: Metric,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[Sequence[str]] | None = None,
        exact: bool = False,
        payload: bool = True,
    ) -> list[list[Neighbor]]:
        m = self._models
        requests = [
            m.QueryRequest(
                query=np.asarray(vector, np.float32).tolist(),
                using=metric,
                limit=limit,
                filter=self._filter(where, () if exclude is None else exclude[row]),
                params=self._params(limit, exact=exact),
                with_payload=True if payload else ["id"],
            )
            for row, vector in enumerate(vectors)
        ]
        return [_neighbors(answer, metric) for answer in self._answers(requests)]

    def recommend(
        self,
        examples: Sequence[Examples],
        metric: Metric,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[str] = (),
    ) -> list[list[Neighbor]]:
        requests = [
            self._models.QueryRequest(
                query=self._like(one),
                using=metric,
                limit=limit,
                filter=self._filter(where, exclude),
                params=self._params(limit),
                with_payload=True,
                with_vector=[metric],
            )
            for one in examples
        ]
        answers = self._answers(requests)
        return [
            nearest_likes(one, [_point(scored) for scored in answer], metric)
            for one, answer in zip(examples, answers, strict=True)
        ]

    def _like(self, examples: Examples) -> Any:
        """Ask for what is nearer to one of the likes than to any of the dislikes."""
        m = self._models
        likes, dislikes = examples.likes.tolist(), examples.dislikes.tolist()
        if len(likes) == 1 and not dislikes:  # the same order; the engine keeps more digits of a distance
            return likes[0]
        strategy = m.RecommendStrategy.BEST_SCORE
        return m.RecommendQuery(
            recommend=m.RecommendInput(positive=likes, negative=dislikes, strategy=strategy)
        )

    def diversify(
        self, ids: Sequence[str], vector: Vector, metric: Metric, limit: int, diversity: float
    ) -> list[str]:
        m = self._models
        if not ids:
            return []
        request = m.QueryRequest(
            query=m.NearestQuery(
                nearest=np.asarray(vector, np.float32).tolist(),
                mmr=m.Mmr(diversity=diversity, candidates_limit=len(ids)),
            ),
            using=metric,
            limit=limit,
            filter=m.Filter(must=[m.HasIdCondition(has_id=[point_uuid(i) for i in ids])]),
            params=self._params(len(ids), exact=True),
            with_payload=["id"],
        )
        (answer,) = self._answers([request])
        return [(scored.payload or {})["id"] for scored in answer]

    def _params(self, limit: int, *, exact: bool = False) -> Any:
        m = self._models
        return m.SearchParams(
            exact=exact,
            hnsw_ef=max(_EF_SEARCH, 2 * limit),
            quantization=m.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=_OVERSAMPLING),
        )

    def _answers(self, requests: list[Any]) -> list[Sequence[models.ScoredPoint]]:
        if not requests:
            return []
        answers = self._connection.read(
            lambda client: client.query_batch_points(self.collection, requests=requests)
        )
        return [answer.points for answer in answers]

    def count(self, where: Filter = ()) -> int:
        answer = self._connection.read(
            lambda client: client.count(self.collection, count_filter=self._filter(where), exact=True)
        )
        return int(answer.count)

    def index_field(self, field: str, kind: FieldKind) -> None:
        m = self._models
        key = payload_key(field)
        if self._indexes is None:
            self._indexes = {key: index.data_type for key, index in self._info().payload_schema.items()}
        schema = m.PayloadSchemaType.KEYWORD if kind == "text" else m.PayloadSchemaType.FLOAT
        # the server lists its indexes under the key without its quotes where none are needed
        before = self._indexes.get(key, self._indexes.get(key.replace('"', "")))
        if kind == "words" or before == schema:
            return
        self._change(
            lambda client: client.create_payload_index(self.collection, key, field_schema=schema, wait=True)
        )
        self._indexes[key] = schema

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Scalar, int]]:
        answer = self._connection.read(
            lambda client: client.facet(
                self.collection,
                payload_key(field),
                facet_filter=self._filter(where),
                limit=limit,
                exact=True,
            )
        )
        return [(hit.value, hit.count) for hit in answer.hits]

    def bounds(self, field: str, where: Filter = ()) -> tuple[float, float] | None:
        m = self._models
        ends: list[float] = []
        for direction in (m.Direction.ASC, m.Direction.DESC):
            order = m.OrderBy(key=payload_key(field), direction=direction)
            records, _ = self._page(where, limit=1, order=order)
            ends += [float(record.payload["attributes"][field]) for record in records if record.payload]
        return (ends[0], ends[1]) if len(ends) == 2 else None

    def optimize(self) -> None:
        """Do nothing: a server brings its index up to date by itself, in the background."""

    def indexed(self) -> int:
        searched = len(self._names - {"raw"})
        return int(self._info().indexed_vectors_count or 0) * searched // max(1, len(self._names))

    def close(self) -> None:
        """Do nothing: a server has written what it acknowledged, and the connection is the caller's."""

    def _filter(self, where: Filter, exclude: Sequence[str] = ()) -> models.Filter | None:
        m = self._models
        must: list[Any] = []
        must_not: list[Any] = [m.HasIdCondition(has_id=[point_uuid(i) for i in exclude])] if exclude else []
        for condition in where:
            if condition.has_range:
                must.append(self._range(condition))
            if condition.any_of:
                must.append(m.Filter(should=[self._equals(condition.field, v) for v in condition.any_of]))
            must_not += [self._equals(condition.field, v) for v in condition.none_of]
        return m.Filter(must=must or None, must_not=must_not or None) if must or must_not else None

    def _range(self, condition: Condition) -> Any:
        m = self._models
        bounds = m.Range(gt=condition.gt, gte=condition.gte, lt=condition.lt, lte=condition.lte)
        return m.FieldCondition(key=payload_key(condition.field), range=bounds)

    def _equals(self, field: str, value: Scalar) -> Any:
        m = self._models
        if isinstance(value, bool):  # truth is kept as text, as embedded
            value = str(value).lower()
        if isinstance(value, str):
            return m.FieldCondition(key=payload_key(field), match=m.MatchValue(value=value))
        return m.FieldCondition(key=payload_key(field), range=m.Range(gte=float(value), lte=float(value)))


def _point(record: models.Record | models.ScoredPoint) -> Point:
    payload = record.payload or {}
    vectors = record.vector if isinstance(record.vector, dict) else {}
    return Point(payload["id"], {n: np.asarray(v, np.float32) for n, v in vectors.items()}, payload)


def _neighbors(answer: Sequence[models.ScoredPoint], metric: Metric) -> list[Neighbor]:
    found = []
    for scored in answer:
        distance = max(0.0, 1.0 - scored.score) if metric == "cosine" else scored.score
        payload = scored.payload or {}
        found.append(Neighbor(payload["id"], distance, payload))
    return sorted(found, key=lambda n: (n.distance, n.id))
