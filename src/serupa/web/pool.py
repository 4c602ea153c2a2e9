"""Encoding for many clients at once: a bounded queue, and one encoder that takes what waits together.

A photo is decoded on one of a few threads, then handed to the encoder's own thread. That one never waits for
a batch to fill: it takes what came while it was busy, so a lone request is encoded at once and a crowd shares
the encoder's work.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.query import Encoded
from serupa.encoders.session import available_cpus
from serupa.errors import SerupaError
from serupa.images import Crop
from serupa.web.problems import busy, photo_problem

if TYPE_CHECKING:
    from serupa.encoders import Encoder
    from serupa.web.metrics import Metrics

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Job:
    photo: bytes | None
    crop: Crop | None
    future: asyncio.Future[Encoded]
    timing_ms: dict[str, float] = field(default_factory=dict)
    pixels: NDArray[np.uint8] | None = None
    since: float = 0.0


def decoding_threads() -> int:
    """Return how many photos are decoded at once: two at least, so that a slow one is not waited for."""
    return max(2, available_cpus())


class EncodingPool:
    """Encodes photos for many clients. Its coroutines belong to one event loop.

    Parameters
    ----------
    encoder : Encoder
        Used on one thread, the pool's own.
    places : int
        How many photos may be waiting or worked on; the next one is refused.
    batch : int
        How many are encoded at once, at most.
    metrics : Metrics
        Is told how long things take.
    """

    def __init__(self, encoder: Encoder, *, places: int, batch: int, metrics: Metrics) -> None:
        self._encoder = encoder
        self._places = places
        self._batch = batch
        self._metrics = metrics
        self._taken = 0
        # seconds a photo took lately, decoded beside others and encoded: what Retry-After is reckoned from
        self._decode_s, self._photo_s = 0.01, 0.01
        self._decoders = ThreadPoolExecutor(decoding_threads(), "decode")
        self._ready: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="encode", daemon=True)
        self._thread.start()

    @property
    def taken(self) -> int:
        """How many photos are waiting or worked on."""
        return self._taken

    async def encode(self, photo: bytes, crop: Crop | None = None) -> Encoded:
        """Return the embedding of a photo. Cancelled, it gives its place back at once.

        Raises
        ------
        ProblemError
            429 if there is no place, 422 if it cannot be used as a photo.
        SerupaError
            If the encoder fails.
        """
        self._take_place()
        job = _Job(photo, crop, asyncio.get_running_loop().create_future(), since=time.perf_counter())
        try:
            self._decoders.submit(self._decode, job)
            return await job.future
        finally:
            self._taken -= 1
            # a cancelled job may stand in a queue for a while: without its photo
            job.photo = job.pixels = None

    async def run(self, work: Callable[[], _T], threads: Executor | None = None) -> _T:
        """Run other work with photos, on a decoding thread or others; it takes a place as `encode` does.

        Raises
        ------
        ProblemError
            429 if there is no place.
        """
        self._take_place()
        try:
            return await asyncio.get_running_loop().run_in_executor(threads or self._decoders, work)
        finally:
            self._taken -= 1

    async def decodes(self) -> None:
        """Return as soon as a decoding thread has a moment: never, where all of them are stuck."""
        await asyncio.get_running_loop().run_in_executor(self._decoders, int)

    def close(self) -> None:
        """End the threads; what is being encoded is finished first."""
        self._decoders.shutdown(cancel_futures=True)
        self._ready.put(None)
        self._thread.join()

    def _take_place(self) -> None:
        if self._taken >= self._places:
            self._metrics.refused.labels("queue").inc()
            wait = max(1, math.ceil(self._taken * max(self._photo_s, self._decode_s)))
            raise busy("the server is busy with other photos; try again in a moment", retry_after_s=wait)
        self._taken += 1

    def _decode(self, job: _Job) -> None:
        photo = job.photo
        if photo is None or job.future.done():
            return
        started = time.perf_counter()
        try:
            job.pixels = self._encoder.preprocess(photo, job.crop)
        except SerupaError as error:
            _finish(job, photo_problem(error))
            return
        except BaseException as error:
            _finish(job, error)
            return
        finally:
            done = time.perf_counter()
            self._decode_s += 0.1 * ((done - started) / decoding_threads() - self._decode_s)
        job.timing_ms = {"wait": 1e3 * (started - job.since), "decode": 1e3 * (done - started)}
        job.since = done
        self._metrics.decode.observe(done - started)
        self._ready.put(job)

    def _work(self) -> None:
        """Run the encoder's thread."""
        while (first := self._ready.get()) is not None:
            jobs, last = [first], False
            while len(jobs) < self._batch and not self._ready.empty():
                job = self._ready.get()
                if job is None:
                    last = True
                    break
                jobs.append(job)
            self._encode(jobs)
            if last:
                return

    def _encode(self, jobs: list[_Job]) -> None:
        # the pixels are taken first: a job may be cancelled, and lose them, at any moment
        waiting = [(job, job.pixels) for job in jobs if not job.future.done()]
        jobs = [job for job, pixels in waiting if pixels is not None]
        if not jobs:
            return
        started = time.perf_counter()
        try:
            embeddings = self._encoder.encode(np.stack([p for _, p in waiting if p is not None]))
        except BaseException as error:
            for job in jobs:
                _finish(job, error)
            return
        seconds = time.perf_counter() - started
        self._photo_s += 0.1 * (seconds / len(jobs) - self._photo_s)
        self._metrics.encode.observe(seconds)
        self._metrics.batch.observe(len(jobs))
        for job, embedding in zip(jobs, embeddings, strict=True):
            wait = job.timing_ms["wait"] + 1e3 * (started - job.since)
            timing = {"wait": wait, "decode": job.timing_ms["decode"], "encode": 1e3 * seconds}
            _finish(job, Encoded(embedding, timing))


def _finish(job: _Job, result: Encoded | BaseException) -> None:
    """Hand a result to the waiting coroutine, from another thread."""

    def finish() -> None:
        if job.future.done():
            return
        if isinstance(result, BaseException):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    try:
        job.future.get_loop().call_soon_threadsafe(finish)
    except RuntimeError:  # the loop is closed: nobody is waiting any more
        return
