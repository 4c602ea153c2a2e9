"""What the routes stand on: a catalogue, the pool that encodes for it, and the limits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from fastapi import Request

from serupa.catalog import Catalog
from serupa.catalog.query import SearchRequest, check
from serupa.catalog.results import By, SearchResult
from serupa.errors import SerupaError, UsageError
from serupa.files.cache import cache_dir
from serupa.filters import as_filter
from serupa.images import Crop
from serupa.styling.advisor import Advisor
from serupa.styling.shopfront import Shopfront
from serupa.web.logs import ClientGoneError, errors
from serupa.web.metrics import Metrics
from serupa.web.pool import EncodingPool, PoolFullError
from serupa.web.problems import ProblemError
from serupa.web.security import Gate
from serupa.web.settings import Settings
from serupa.web.thumbnails import Thumbnails
from serupa.web.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

_THUMBNAILS_WAITING = 512
_REFRESH_S = 5.0
"""How often a catalogue on a server is asked whether it was switched over: far below the time for which the
points that were replaced stay there."""


class Service:
    """Everything that an app holds between requests.

    Parameters
    ----------
    catalog : Catalog
        Open, and closed by whoever opened it.
    settings : Settings
    """

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self.catalog = catalog
        self.settings = settings
        self.gate = Gate(settings)
        self.metrics = Metrics(lambda: self._pool.taken if self._pool else 0)
        self.thumbnails = Thumbnails(cache_dir() / "thumbnails", int(settings.thumbnails_mb * 1e6))
        self.explains = False
        self._uploads = Uploads(catalog, settings.photos)
        self._pool: EncodingPool | None = None
        self._retired: list[EncodingPool] = []
        self._refreshing: asyncio.Task[None] | None = None
        self._thumbnails_waiting = 0
        self._learning = Lock()
        self._learned: tuple[int, Advisor, Shopfront] | None = None

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
        loop = asyncio.get_running_loop()
        self.explains = await loop.run_in_executor(self._writer, _try_encoder, self.catalog)
        self._pool = self._new_pool(self.catalog)
        if self.catalog.folder is None:
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
                errors.warning("the catalogue could not be looked at: %s", error)
            except Exception:
                errors.exception("the catalogue could not be looked at")

    async def refresh(self) -> None:
        """Answer from now on from what the catalogue's name stands for now.

        Requests that were begun are answered from what they were begun with.
        """
        found = await self.reading(self.catalog.refreshed)
        if found is self.catalog:
            return
        loop = asyncio.get_running_loop()
        explains = await loop.run_in_executor(self._writer, _try_encoder, found)
        if found.encoder is not self.catalog.encoder and self._pool is not None:
            self._retired.append(self._pool)
            self._pool = self._new_pool(found)
        self.catalog, self.explains = found, explains
        self._uploads = Uploads(found, self.settings.photos)

    def stop(self) -> None:
        """Finish what was begun and end the threads."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        for pool in (*self._retired, *([self._pool] if self._pool else [])):
            pool.close()
        self._pool, self._retired = None, []
        for executor in (self._searchers, self._writer, self._drawers):
            executor.shutdown(cancel_futures=True)

    @property
    def pool(self) -> EncodingPool:
        """The pool that encodes."""
        if self._pool is None:
            raise ProblemError(503, "the server is starting or stopping", headers={"Retry-After": "1"})
        return self._pool

    @property
    def hidden(self) -> tuple[str, ...]:
        """Paths that no answer may show."""
        path = self.catalog.path
        return tuple({str(path), str(path.resolve() if isinstance(path, Path) else path)})

    async def reading(self, work: Callable[[], _T]) -> _T:
        """Run something that reads the catalogue, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._searchers, work)

    async def writing(self, work: Callable[[Uploads], _T]) -> _T:
        """Run something that changes the catalogue: one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, self._uploads)

    async def drawing(self, work: Callable[[], _T]) -> _T:
        """Run something that reads or makes a thumbnail."""
        if self._thumbnails_waiting >= _THUMBNAILS_WAITING:
            self.metrics.refused.labels("thumbnails").inc()
            raise ProblemError(429, "too many photos are being made smaller", headers={"Retry-After": "1"})
        self._thumbnails_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._drawers, work)
        finally:
            self._thumbnails_waiting -= 1

    def advisor(self) -> Advisor:
        """Return what is learned from the catalogue; learned when first asked, and when its size changes."""
        return self._taught()[1]

    def shopfront(self) -> Shopfront:
        """Return the catalogue as outfits see it."""
        return self._taught()[2]

    def _taught(self) -> tuple[int, Advisor, Shopfront]:
        with self._learning:
            items = self.catalog.count()
            if self._learned is None or self._learned[0] != items:
                self._learned = (items, Advisor.learn(self.catalog), Shopfront(self.catalog))
            return self._learned

    async def search(
        self,
        photo: bytes,
        k: int,
        *,
        metric: str | None,
        where: Sequence[str],
        by: By,
        crop: Crop | None,
        offset: int,
    ) -> tuple[SearchResult, dict[str, float]]:
        """Find what `Catalog.search` finds, the photo encoded together with those of other requests.

        Returns
        -------
        tuple of (SearchResult, dict of str to float)
            The result, and the milliseconds of each step.
        """
        catalog = self.catalog
        request = SearchRequest(metric=metric, k=k, offset=offset, where=as_filter(where), by=by)
        await self.reading(lambda: check(catalog, request))  # before the encoder's time is spent
        encoded = await self.pool.encode(photo, crop)
        result = await self.reading(lambda: catalog.ask(replace(request, embedding=encoded.embedding)))
        self.metrics.search.observe(result.timing_ms["search"] / 1e3)
        return result, {**encoded.timing_ms, **result.timing_ms}

    async def answered(self, request: Request, work: Coroutine[Any, Any, _T]) -> _T:
        """Await an answer, no longer than the limit, and only while the client is there to hear it.

        Call it when the request's body has been read.

        Raises
        ------
        ProblemError
            429 when the pool is full, 503 when it takes too long.
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
            raise ProblemError(
                503,
                f"no answer within {self.settings.time_limit_s:g} s; the server is overloaded",
                code="time",
                headers={"Retry-After": "5"},
            )
        except PoolFullError as error:
            self.metrics.refused.labels("queue").inc()
            raise ProblemError(429, str(error), headers={"Retry-After": str(error.retry_after_s)}) from None
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
        self.pool  # noqa: B018 -- refuses while there is none
        try:
            await asyncio.wait_for(self.reading(self.catalog.count), 5.0)
        except Exception as error:
            errors.exception("not ready")
            raise ProblemError(503, "the catalogue does not answer", headers={"Retry-After": "5"}) from error


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
