"""What the routes stand on: a catalogue, the pool that encodes for it, and the limits."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from fastapi import Request

from serupa.catalog import Catalog
from serupa.catalog.counts import Counts
from serupa.catalog.query import SearchRequest, check
from serupa.catalog.reindex import Alone
from serupa.catalog.results import SearchResult
from serupa.catalog.schema import content_of
from serupa.errors import SerupaError, UnavailableError, UsageError
from serupa.events.log import Event, EventLog, folder_of
from serupa.files import http
from serupa.files.cache import cache_dir
from serupa.files.memory import give_back_memory
from serupa.images import Crop
from serupa.styling.advisor import Advisor
from serupa.styling.shopfront import Shopfront
from serupa.web.front import Front
from serupa.web.jobs import Jobs, Shared
from serupa.web.logs import ClientGoneError
from serupa.web.metrics import Metrics
from serupa.web.pool import EncodingPool
from serupa.web.problems import busy, errors, log_text, unavailable
from serupa.web.security import Gate
from serupa.web.settings import Settings
from serupa.web.thumbnails import Thumbnails
from serupa.web.uploads import Uploads

_T = TypeVar("_T")

_THUMBNAILS_WAITING = 512
_FETCHERS = 8  # threads that wait for photos at other servers
_REST, _REST_S = 20.0, 5.0
"""How long what items taught is used though they change: times as long as it took to learn; at least."""
_READY_S = 5.0  # of a probe
_COUNTED_AT_ONCE = 20_000
"""Items up to which counts are brought up to date before they are told; of more, in the background."""
_COUNTS_LAST_S = 60.0  # where another server may change the catalogue
_FRONT_S = 1.0
_REFRESH_S = 5.0
"""How often a catalogue on a server is asked whether it was switched over: far below the time for which the
points that were replaced stay there."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What was learned from a catalogue for advising on clothes."""

    advisor: Advisor
    shopfront: Shopfront

    @classmethod
    def of(cls, catalog: Catalog, shopfront: Shopfront) -> Self:
        """Learn from a catalogue: seconds, for some thousands of items, and kept with them."""
        folder = catalog.backend.folder or cache_dir() / "advice" / content_of(str(catalog.path).encode())
        return cls(Advisor.kept(catalog, folder / "advice.npz"), shopfront)


class Service:
    """Everything that an app holds between requests.

    Parameters
    ----------
    catalog : Catalog
        Open, and closed by whoever opened it.
    settings : Settings
    name : str
        Of the tenant, where there are several.
    """

    def __init__(self, catalog: Catalog, settings: Settings, name: str = "") -> None:
        self.catalog = _used(catalog)
        self.settings = settings
        self.name = name
        self.gate = Gate(settings)
        self.metrics = Metrics(lambda: self._pool.taken if self._pool else 0)
        self.thumbnails = Thumbnails(cache_dir() / "thumbnails" / name, int(settings.thumbnails_mb * 1e6))
        self.explains = False
        self.events = _event_log(catalog, settings)
        self.shared, self.jobs = Shared(), Jobs()
        self._uploads = Uploads(catalog, settings.photos)
        self._pool: EncodingPool | None = None
        self._retired: list[EncodingPool] = []
        self._refreshing: asyncio.Task[None] | None = None
        self._thumbnails_waiting = 0
        self._changes = 0
        self._advice: Advice | None = None
        self._shopfront = Shopfront(catalog)
        self._looked_at: Shopfront | None = None
        self._learning: asyncio.Task[None] | None = None
        self._taught, self._learned = asyncio.Event(), asyncio.Event()
        self._counts: Counts | None = None
        self._counted: tuple[Catalog, int] | None = None
        self._counting: asyncio.Task[Counts] | None = None
        self._front: tuple[Counts, Front] | None = None

    async def start(self) -> None:
        """Load the encoder, try it, and take requests.

        Raises
        ------
        SerupaError
            If the encoder cannot be had or does not work.
        """
        # few threads: searches share the processors with the encoder, and a queue is fairer than a crowd
        self._searchers = ThreadPoolExecutor((os.cpu_count() or 2) + 2, "search")
        self._writer = ThreadPoolExecutor(1, "write")
        self._drawers = ThreadPoolExecutor(2, "thumbnail")
        self.fetchers = ThreadPoolExecutor(_FETCHERS, "fetch")
        self._learner = ThreadPoolExecutor(1, "learn")
        self._recorder = ThreadPoolExecutor(1, "events")
        if self.events is not None:
            self._recorder.submit(self.events.sweep)
        loop = self._loop = asyncio.get_running_loop()
        self.explains = await loop.run_in_executor(self._writer, _try_encoder, self.catalog)
        self._pool = self._new_pool(self.catalog)
        self._counting = asyncio.create_task(self._count())
        self._taught.set()
        self._learning = asyncio.create_task(self._keep_learning())
        if self.catalog.backend.folder is None:
            self._refreshing = asyncio.create_task(self._keep_fresh())

    def _new_pool(self, catalog: Catalog) -> EncodingPool:
        return EncodingPool(
            catalog.encoder, places=self.settings.queue, batch=self.settings.batch, metrics=self.metrics
        )

    async def _keep_fresh(self) -> None:
        """Notice when other points, or another encoder, take the place of those in use."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await self.refresh()
            except SerupaError as error:
                errors.warning("the catalogue could not be looked at: %s", log_text(error))
            except Exception:
                errors.exception("the catalogue could not be looked at")

    async def refresh(self) -> None:
        """Answer from now on from what the catalogue's name stands for now.

        Requests that were begun are answered from what they were begun with.
        """
        catalog = await self.reading(self.catalog.refreshed)
        if catalog is self.catalog:
            return
        loop = asyncio.get_running_loop()
        explains = await loop.run_in_executor(self._writer, _try_encoder, catalog)
        if catalog.encoder is not self.catalog.encoder and self._pool is not None:
            self._retired.append(self._pool)
            self._pool = self._new_pool(catalog)
        self.catalog, self.explains = _used(catalog), explains
        self._shopfront = Shopfront(catalog)
        self._uploads = Uploads(catalog, self.settings.photos)
        self._taught.set()

    def stop(self) -> None:
        """Finish what was begun and end the threads."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self.jobs.close()
        for pool in (*self._retired, *([self._pool] if self._pool else [])):
            pool.close()
        self._pool, self._retired = None, []
        if self._learning is not None:
            self._learning.cancel()
        if self._counting is not None:
            self._counting.cancel()
        self.fetchers.shutdown(wait=False, cancel_futures=True)
        http.stop()  # what still waits for another server
        for executor in (self._searchers, self._writer, self._drawers, self._learner):
            executor.shutdown(cancel_futures=True)
        self._recorder.shutdown()

    @property
    def pool(self) -> EncodingPool:
        """The pool that encodes."""
        if self._pool is None:
            raise unavailable("the server is starting or stopping", retry_after_s=1)
        return self._pool

    async def reading(self, work: Callable[[], _T]) -> _T:
        """Run something that reads the catalogue, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._searchers, self.shared.reading(work))

    async def writing(self, work: Callable[[Uploads], _T]) -> _T:
        """Run something that changes the catalogue: one after the other."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, work, self._uploads)
        finally:
            self._changes += 1
            self._taught.set()

    def unchanged(self, work: Callable[[], _T]) -> _T:
        """Run something, out of a job, while nothing is changed: changes wait for it."""
        return self._writer.submit(work).result()

    def exchanging(self, work: Callable[[Alone], _T]) -> _T:
        """Run something, in a job, that exchanges the catalogue's store: others wait for its last step alone.

        Learning reads for long, and a change is to be whole: they are waited for before searches are.
        """

        @contextmanager
        def alone() -> Iterator[None]:
            ended = threading.Event()

            def hold(begun: threading.Event) -> None:
                begun.set()
                ended.wait()

            try:
                for threads in (self._learner, self._writer):
                    begun = threading.Event()
                    holding = threads.submit(hold, begun)
                    while not begun.wait(0.1):
                        if holding.cancelled():
                            raise UnavailableError("the server", "is stopping")
                with self.shared.alone():
                    yield
            finally:
                ended.set()

        try:
            return work(alone)
        finally:
            give_back_memory()
            self._changes += 1
            self._loop.call_soon_threadsafe(self._taught.set)

    async def fetching(self, work: Callable[[], _T]) -> _T:
        """Run something that may have to wait for other servers: nothing else waits then."""
        return await asyncio.get_running_loop().run_in_executor(self.fetchers, self.shared.reading(work))

    async def drawing(self, work: Callable[[], _T], *, fetches: bool) -> _T:
        """Run something that reads or makes a thumbnail, with a photo that has to be fetched or is here."""
        if self._thumbnails_waiting >= _THUMBNAILS_WAITING:
            self.metrics.refused.labels("thumbnails").inc()
            raise busy("too many photos are being made smaller")
        self._thumbnails_waiting += 1
        try:
            threads = self.fetchers if fetches else self._drawers
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        finally:
            self._thumbnails_waiting -= 1

    def record(self, event: Event) -> None:
        """Note what happened, where the shop wants to know; it never keeps an answer waiting, or fails it."""

        def work(log: EventLog) -> None:
            try:
                log.append(event)
            except SerupaError as error:
                errors.warning("%s", log_text(error))

        if self.events is not None:
            self._recorder.submit(work, self.events)

    @property
    def notices_owned(self) -> bool | None:
        """Whether what is owned is noticed often enough to be asked for; None where nothing tells."""
        ownership = self._advice.advisor.ownership if self._advice else None
        return ownership.worth_asking if ownership else None

    async def advice(self) -> Advice:
        """Return what was learned from the catalogue; waits only while it is learned for the first time.

        Raises
        ------
        ProblemError
            503 if it could not be learned.
        """
        if self._advice is None:
            if self._learned.is_set():  # and it failed
                self._learned.clear()
                self._taught.set()
            await self._learned.wait()
        if self._advice is None:
            raise unavailable("nothing could be learned from the catalogue; the server's log says why")
        if self._looked_at is not self._shopfront:
            self._looked_at = self._shopfront
            self._learner.submit(self._look_ahead, self._shopfront)
        return self._advice

    async def counts(self) -> Counts:
        """Return the catalogue's counts; where counting takes seconds, those of before the last changes."""
        counts = self._counts
        if counts is None or self._counted != self._state():
            if self._counting is None or self._counting.done():
                self._counting = asyncio.create_task(self._count())
            if counts is None or len(counts) <= _COUNTED_AT_ONCE:
                return await asyncio.shield(self._counting)
        return counts

    async def _count(self) -> Counts:
        counted = self._state()
        self._counts = await self.reading(lambda: Counts.of(counted[0]))
        self._counted = counted
        if self.catalog.backend.folder is None:
            asyncio.get_running_loop().call_later(_COUNTS_LAST_S, self._recount)
        return self._counts

    async def front(self) -> Front | None:
        """Return what the first page shows; None while a large catalogue is counted for the first time."""
        try:
            counts = await asyncio.wait_for(self.counts(), _FRONT_S)
        except TimeoutError:
            return None
        if self._front is None or self._front[0] is not counts:
            self._front = counts, await self.reading(lambda: Front.of(counts))
        return self._front[1]

    def _recount(self) -> None:
        self._counted = None

    def _look_ahead(self, shopfront: Shopfront) -> None:
        """See many photos before somebody waits for it: outfits go by their colours."""
        try:
            shopfront.look_ahead(lambda: self._pool is not None)
        except SerupaError as error:
            errors.warning("the shop's colours could not be seen: %s", log_text(error))
        except Exception:
            errors.exception("the shop's colours could not be seen")

    async def _keep_learning(self) -> None:
        """Learn anew after changes; until then, advice is given from what was learned before."""
        loop = asyncio.get_running_loop()
        while True:
            await self._taught.wait()
            self._taught.clear()
            started = loop.time()
            try:
                self._advice = await loop.run_in_executor(
                    self._learner, Advice.of, self.catalog, self._shopfront
                )
                await loop.run_in_executor(self._learner, give_back_memory)
            except SerupaError as error:  # such as an item that was removed meanwhile
                errors.warning("nothing could be learned from the catalogue for advice: %s", log_text(error))
            except Exception:
                errors.exception("nothing could be learned from the catalogue for advice")
            self._learned.set()
            if self._advice is not None:
                await asyncio.sleep(max(_REST_S, _REST * (loop.time() - started)))

    def _state(self) -> tuple[Catalog, int]:
        return self.catalog, self._changes

    async def ask(self, request: SearchRequest) -> SearchResult:
        """Answer a request for which no photo is encoded."""
        catalog = self.catalog
        result = await self.reading(lambda: catalog.ask(request))
        self.metrics.search.observe(result.timing_ms["search"] / 1e3)
        return result

    async def search(self, photo: bytes | None, crop: Crop | None, request: SearchRequest) -> SearchResult:
        """Answer a request as `Catalog.ask` does, its photo encoded together with those of other requests."""
        if photo is None:
            return await self.ask(request)
        catalog = self.catalog
        await self.reading(lambda: check(catalog, request))  # before the encoder's time is spent
        encoded = await self.pool.encode(photo, crop)
        content = content_of(photo) if crop is None else None
        asked = replace(request, embedding=encoded.embedding, content=content)
        result = await self.reading(lambda: catalog.ask(asked))
        self.metrics.search.observe(result.timing_ms["search"] / 1e3)
        return replace(result, timing_ms={**encoded.timing_ms, **result.timing_ms})

    async def answered(self, request: Request, work: Coroutine[Any, Any, _T]) -> _T:
        """Await an answer, no longer than the limit, and only while the client is there to hear it.

        Call it when the request's body has been read.

        Raises
        ------
        ProblemError
            503 when it takes too long.
        ClientGoneError
            If the client left.
        """
        task = asyncio.create_task(work)
        leaving = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait(
                (task, leaving), timeout=self.settings.time_limit_s, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                return task.result()
            if leaving.done():
                raise ClientGoneError
            self.metrics.refused.labels("time").inc()
            detail = f"no answer within {self.settings.time_limit_s:g} s; the server is overloaded"
            raise unavailable(detail, code="time")
        finally:
            task.cancel()
            leaving.cancel()

    async def ready(self) -> None:
        """Try whether requests can be answered.

        Raises
        ------
        ProblemError
            503 if not.
        """
        pool = self.pool
        try:
            await asyncio.wait_for(asyncio.gather(self.reading(self.catalog.count), pool.decodes()), _READY_S)
        except Exception as error:
            errors.exception("not ready")
            raise unavailable("the catalogue or the decoders do not answer") from error


def _event_log(catalog: Catalog, settings: Settings) -> EventLog | None:
    if not settings.events_days:
        return None
    return EventLog(folder_of(catalog.backend.folder, settings.events), settings.events_days)


def _used(catalog: Catalog) -> Catalog:
    """Return a catalogue, so that no request waits for what has to be worked out after each change."""
    catalog.waits_for_index = False
    catalog.own.rest(_REST)
    return catalog


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _try_encoder(catalog: Catalog) -> bool:
    """Load a catalogue's encoder and run it once; return whether it gives feature maps."""
    encoder = catalog.encoder
    side = encoder.input_size
    grey = np.full((1, side, side, 3), 128, np.uint8)
    encoder.encode(grey)
    try:
        encoder.feature_maps(grey)
    except UsageError:
        return False
    return True
