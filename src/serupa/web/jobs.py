"""Work that takes minutes while the server answers: one job at a time, and how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from serupa.errors import SerupaError
from serupa.progress import Progress
from serupa.web.problems import ProblemError, errors, log_text, problem_of

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Job:
    """A job: what it is, how far it is, and what came of it.

    Parameters
    ----------
    name : str
    step : str
        What is being done.
    done, total : int
        How much of it.
    result : dict or None
        What came of it, JSON-ready; None while it runs and where it failed.
    problem : str or None
        Why it failed.
    """

    name: str
    step: str = ""
    done: int = 0
    total: int = 0
    result: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it is not at its end."""
        return self.result is None and self.problem is None


class Jobs:
    """Runs one job at a time, on a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "job")
        self._lock = threading.Lock()
        self.last: Job | None = None

    def start(self, name: str, work: Callable[[Progress], dict[str, Any]]) -> Job:
        """Start a job.

        Raises
        ------
        ProblemError
            409 while another one runs.
        """
        with self._lock:
            if self.last is not None and self.last.runs:
                raise ProblemError(409, f"{self.last.name} is running; wait until it is done")
            job = self.last = Job(name)
        self._thread.submit(self._run, job, work)
        return job

    def close(self) -> None:
        """Let what runs come to its end, and start nothing any more."""
        self._thread.shutdown(cancel_futures=True)

    def _run(self, job: Job, work: Callable[[Progress], dict[str, Any]]) -> None:
        def progress(step: str, done: int, total: int) -> None:
            self.last = replace(job, step=step, done=done, total=total)

        try:
            self.last = replace(job, result=work(progress))
        except SerupaError as error:
            errors.warning("%s: %s", job.name, log_text(error))
            self.last = replace(job, problem=problem_of(error).detail)
        except Exception as error:
            errors.exception("%s", job.name)
            self.last = replace(job, problem=problem_of(error).detail)


class Shared:
    """A catalogue that many read at once, and whose store is exchanged while nobody does."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._readers = 0
        self._exchanging = False

    def reading(self, work: Callable[[], _T]) -> Callable[[], _T]:
        """Return work that reads the catalogue, so that it waits for an exchange, and an exchange for it."""

        def read() -> _T:
            with self._free:
                self._free.wait_for(lambda: not self._exchanging)
                self._readers += 1
            try:
                return work()
            finally:
                with self._free:
                    self._readers -= 1
                    self._free.notify_all()

        return read

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody reads, and let nobody begin meanwhile."""
        with self._free:
            self._exchanging = True
            self._free.wait_for(lambda: not self._readers)
        try:
            yield
        finally:
            with self._free:
                self._exchanging = False
                self._free.notify_all()
