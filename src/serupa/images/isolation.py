"""Decoding in processes that can be ended: when it takes too long or too much memory, or breaks them.

A thread cannot be ended, and the fault of a decoder is that of its whole process. So a server hands the bytes
of photos to a few processes of this module (``python -m serupa.images.isolation``) and gets pixels back.
Before one decodes, it says how much memory that takes, and waits until there is room for it. Messages are
JSON behind their length, followed by raw bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any

from PIL import Image

from serupa.errors import InvalidInputError, SerupaError, UnavailableError
from serupa.images.crop import Crop
from serupa.images.decoding import Wanted, decode, decode_by

_LENGTH = struct.Struct(">I")
_PIPE_BYTES, _SET_PIPE_BYTES = 2**20, 1031  # F_SETPIPE_SZ, <linux/fcntl.h>
_SPARE_BYTES = 64 * 2**20  # beside what decoding is said to take
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT", "LANG")  # no secrets
_STARTING_S = 60.0
_KILLED_FIRST = "500"  # of 1,000: when memory ends, rather a decoder than the server


class Decoders:
    """A number of processes that decode photos. `start` makes all photos of this process go through them.

    Parameters
    ----------
    processes : int
        How many photos are decoded at once.
    memory : int
        Bytes that decoding may take in all of them together; a photo that takes more alone is refused.
    seconds : float
        How long decoding a photo may take.
    """

    def __init__(self, processes: int, memory: int, seconds: float) -> None:
        self._room = _Room(memory)
        self._stopped = threading.Event()
        self._all = [_Process(seconds, self._room, self._stopped) for _ in range(processes)]
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()
        for process in self._all:
            self._free.put(process)

    def start(self) -> None:
        """Start the processes, and send them this process's photos from now on."""
        for process in self._all:
            process.start()
        decode_by(self.decode)

    def stop(self) -> None:
        """End the processes; what is being decoded fails."""
        decode_by(None)
        self._stopped.set()
        for process in self._all:
            process.kill()

    def decode(self, data: bytes, wanted: Wanted) -> Image.Image:
        """Decode a photo as `serupa.images.open_photo` does.

        Raises
        ------
        InvalidInputError
            Also if it takes too much time or memory, or breaks its decoder.
        UnavailableError
            If the processes were stopped, or none can be started.
        """
        process = self._free.get()
        try:
            return process.decode(data, wanted)
        finally:
            self._free.put(process)


class _Room:
    """Memory that several share."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, needed: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()


class _Process:
    """One process, started again when it has ended; for one thread at a time."""

    def __init__(self, seconds: float, room: _Room, stopped: threading.Event) -> None:
        self._seconds = seconds
        self._room = room
        self._stopped = stopped
        self._process: subprocess.Popen[bytes] | None = None
        self._is_starting = False
        self._is_late = False

    def start(self) -> subprocess.Popen[bytes]:
        if self._stopped.is_set():
            raise UnavailableError("decoding", "has been stopped")
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OPENBLAS_NUM_THREADS": "1",
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- ourselves
                [sys.executable, "-m", __name__],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # warnings of libraries: photos could fill a log with them
            )
        except OSError as error:
            raise UnavailableError("decoding", f"no process can be started: {error.strerror}") from error
        self._is_starting = True
        return self._process

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def decode(self, data: bytes, wanted: Wanted) -> Image.Image:
        name = wanted.name
        process = self._process
        if process is not None and process.poll() is not None:  # it was killed between two photos
            self._end(process)
            process = None
        if process is None:
            process = self.start()
        if process.stdin is None or process.stdout is None:
            raise AssertionError("unreachable")
        self._is_late = False
        try:
            if self._is_starting:
                with self._deadline(process, _STARTING_S):
                    _receive(process.stdout)
                self._is_starting = False
            with self._deadline(process, self._seconds):
                _send(process.stdin, asdict(wanted) | {"bytes": len(data)}, data)
                answer = _receive(process.stdout)
            if "needed" in answer:
                if answer["needed"] > self._room.size:
                    _send(process.stdin, {"go": False})
                    needed, most = answer["needed"] / 1e6, self._room.size / 1e6
                    problem = (
                        f"would take {needed:,.0f} MB of memory to decode, over the limit of {most:,.0f}"
                    )
                    raise InvalidInputError(name, problem, "make it smaller first")
                with self._room.taken(answer["needed"]), self._deadline(process, self._seconds):
                    _send(process.stdin, {"go": True})
                    answer = _receive(process.stdout)
                    if "size" in answer:
                        return _image(process.stdout, answer["size"])
        except (OSError, EOFError):
            self._end(process)
            if self._stopped.is_set():
                raise UnavailableError("decoding", "has been stopped") from None
            problem = f"took over {self._seconds:g} s to decode" if self._is_late else "broke its decoder"
            raise InvalidInputError(name, problem, "save it anew first") from None
        raise _KINDS[answer["error"]](name, answer["problem"], answer["hint"])

    @contextlib.contextmanager
    def _deadline(self, process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
        def end() -> None:
            self._is_late = True
            process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        with contextlib.suppress(OSError):
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


_KINDS = {kind.__name__: kind for kind in (InvalidInputError, UnavailableError)}


def _send(stream: IO[bytes], message: dict[str, Any], data: bytes = b"") -> None:
    text = json.dumps(message).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    message: dict[str, Any] = json.loads(_exactly(stream, length))
    return message


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _image(stream: IO[bytes], size: list[int]) -> Image.Image:
    width, height = size
    return Image.frombytes("RGB", (width, height), _exactly(stream, 3 * width * height))


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Decode one photo after the other until nobody asks any more."""

    @contextlib.contextmanager
    def room(needed: int) -> Iterator[None]:
        _send(answers, {"needed": needed})
        if not _receive(requests)["go"]:
            raise _RefusedError
        with _bounded(needed):
            yield

    while True:
        try:
            request = _receive(requests)
        except EOFError:
            return
        data = _exactly(requests, request.pop("bytes"))
        if request["crop"] is not None:
            request["crop"] = Crop(**request["crop"])
        try:
            image = decode(data, Wanted(**request), room)
        except _RefusedError:
            continue
        except SerupaError as error:
            kind = type(error) if type(error).__name__ in _KINDS else UnavailableError
            _send(answers, {"error": kind.__name__, "problem": error.problem, "hint": error.hint})
        else:
            _send(answers, {"size": image.size}, image.tobytes())


class _RefusedError(BaseException):
    """The photo takes too much memory; no `Exception`, so that nothing makes another error of it."""


@contextlib.contextmanager
def _bounded(needed: int) -> Iterator[None]:
    """Let the system refuse this process more memory than it said it needed, where it can."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
        used = next((1024 * int(line.split()[1]) for line in status if line.startswith("VmData:")), 0)
    limit = used + needed + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # for the server, which answers first what was begun
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(OSError, ImportError):
        import fcntl

        for stream in (sys.stdin, answers):
            fcntl.fcntl(stream.fileno(), _SET_PIPE_BYTES, _PIPE_BYTES)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(_KILLED_FIRST)
    _send(answers, {"ready": True})
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
