"""A warm process that forks children, lets them work on a catalogue, and kills them.

Importing everything takes a second, a fork a few milliseconds: that is what makes hundreds of kills cheap.
The nursery itself opens nothing, so its children start with no thread and no lock of the engine's.

It reads one JSON request a line: ``{"job": name, "args": {...}}`` and, optionally, ``kill_s`` (SIGKILL after
so many seconds; counted from the n-th event with ``kill_from_event``), ``kill_step`` (SIGKILL at the n-th
step, see `steps`), ``record`` (what power cuts would leave, see `recorder`), ``fail`` (which system call
fails, and how), ``file_limit`` (bytes, RLIMIT_FSIZE), ``user`` (a user id to become) and ``exact_below``
(items from which there is a graph). It answers one line: how the child ended, and what it told.
"""

from __future__ import annotations

import contextlib
import encodings.ascii  # noqa: F401 -- a child that is another user may not read it
import functools
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import onnxruntime
import qdrant_edge  # noqa: F401 -- imported once, here, and not by each child

import serupa.catalog.ingest
import serupa.images
import serupa.sources  # noqa: F401 -- a child that is another user may not read them
from serupa import SerupaError
from serupa.storage.local import store as edge
from tests.faults import jobs, recorder, steps, tracing

_LONGEST_S = 60.0


def child(request: dict[str, Any], told: int) -> None:
    """Run one job; never return."""

    def tell(event: Any) -> None:
        os.write(told, json.dumps(event).encode() + b"\n")

    status = 0
    try:
        silence()
        if "file_limit" in request:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails with EFBIG, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"],) * 2)
        if "user" in request:
            os.setgroups([])
            os.setgid(request["user"])
            os.setuid(request["user"])
        edge.EXACT_BELOW = request.get("exact_below", edge.EXACT_BELOW)
        if "kill_step" in request or request.get("count_steps"):
            steps.install(request.get("kill_step"), tell)
        getattr(jobs, request["job"])(tell=tell, **request["args"])
    except SerupaError as error:
        tell({"refused": str(error)})
    except BaseException:
        tell({"crash": traceback.format_exc()})
        status = 70
    os._exit(status)


def fail(request: dict[str, Any]) -> dict[str, Any]:
    """Run a job of which a system call on its files fails, and count those that could."""
    job = functools.partial(getattr(jobs, request["job"]), **request["args"])
    how = request["fail"]
    events: list[Any] = []
    count, what = 0, ""

    def stopped(thread: int, name: str, arguments: tuple[int, ...], path: str) -> None:
        nonlocal count, what
        if not any(Path(path).is_relative_to(one) for one in how["of"]):
            return
        if count == how["at"] or (how["on"] and how["at"] is not None and count > how["at"]):
            what = what or f"{name} {path}"
            tracing.refuse(thread, how["error"])
        count += 1

    code = tracing.trace(
        lambda tell: job(tell=tell),
        tracing.CHANGING,
        lambda _, event: events.append(event),
        stopped,
        lambda _: silence(),
    )
    return {"code": code, "hung": False, "events": events, "count": count, "what": what}


def silence() -> None:
    """Send what the engine's panics print to nowhere; they are looked for in the events."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    onnxruntime.set_default_logger_severity(4)


def run(request: dict[str, Any]) -> dict[str, Any]:
    if "fail" in request:
        return fail(request)
    if "record" in request:
        job = functools.partial(getattr(jobs, request["job"]), **request["args"])
        where = request["record"]
        return recorder.record(
            lambda tell: job(tell=tell),
            Path(where["root"]),
            Path(where["into"]),
            where["between"],
            where["deep"],
        )
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child(request, writing)
    os.close(writing)
    started = time.monotonic()
    waiting = request.get("kill_from_event", 0)
    deadline = started + (_LONGEST_S if waiting else request.get("kill_s", _LONGEST_S))
    told, ended = b"", False
    while not ended:
        left = deadline - time.monotonic()
        if left <= 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
            continue
        ready, _, _ = select.select([reading], [], [], min(left, 3600))
        if ready:
            data = os.read(reading, 1 << 16)
            told, ended = told + data, not data
            if waiting and told.count(b"\n") >= waiting:
                deadline, waiting = time.monotonic() + request["kill_s"], 0
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "hung": "kill_s" not in request and time.monotonic() - started > _LONGEST_S,
        "events": [json.loads(line) for line in told.splitlines()],
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
