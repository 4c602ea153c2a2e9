"""Records what a process brings to the disk, to say what a power cut would leave.

It takes no root and no disk of its own: the process is traced (ptrace, with a seccomp filter, so that only
these calls stop it). At each fsync, fdatasync and msync, whoever makes it, the content of the file, or the
names in the directory, are noted as being on the disk. Two kinds of file systems are played, of which every
real one is somewhere in between:

- ``strict``: nothing is there but what was flushed, a name only if its directory was;
- ``journal``: all names are there, as if the journal had just been written, but of contents only what was
  flushed, as after delayed allocation.

What the disk would hold had one flush of ours never been made is recorded beside it, for each place in the
source that flushes: a power cut must then lose something, or the flush is there for nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import stat
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serupa.files.atomic import blocks
from serupa.storage.local import tally

_libc = ctypes.CDLL(None, use_errno=True)

# <linux/ptrace.h>, <linux/seccomp.h>, <linux/prctl.h>
_TRACEME, _CONT, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 7, 0x4200, 0x420E
_OPTIONS = 0x08 | 0x80 | 0x100000  # clones, seccomp, and kill the process with the tracer
_EVENT_SECCOMP = 7
_SET_SECCOMP, _FILTER, _NO_NEW_PRIVS = 22, 2, 38
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_ALL_THREADS = 0x40000000

_CALLS = {
    "x86_64": {74: "fsync", 75: "fsync", 26: "msync", 77: "ftruncate"},
    "aarch64": {82: "fsync", 83: "fsync", 227: "msync", 46: "ftruncate"},
}.get(platform.machine(), {})

Content = tuple[int, dict[int, bytes]]
"""A file's size, and what of it is not zeros."""


def is_possible() -> bool:
    """Whether processes can be traced here."""
    return sys.platform == "linux" and bool(_CALLS)


def content_of(path: str | Path) -> Content:
    with open(path, "rb") as file:  # noqa: PTH123
        return os.fstat(file.fileno()).st_size, dict(blocks(file))


def names_in(directory: str | Path) -> dict[str, tuple[int, bool]]:
    with os.scandir(directory) as entries:
        return {entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False)) for entry in entries}


@dataclass
class Disk:
    """What is on the disk, by the numbers of inodes."""

    root: int
    contents: dict[int, Content] = field(default_factory=dict)
    names: dict[int, dict[str, tuple[int, bool]]] = field(default_factory=dict)

    @classmethod
    def holding(cls, root: Path) -> Disk:
        """Return a disk that holds all of a directory."""
        disk = cls(root.stat().st_ino)
        for folder, _, files in os.walk(root):
            disk.names[os.stat(folder).st_ino] = names_in(folder)  # noqa: PTH116
            for name in files:
                path = Path(folder, name)
                disk.contents[path.stat().st_ino] = content_of(path)
        return disk

    def copy(self) -> Disk:
        return Disk(self.root, dict(self.contents), dict(self.names))

    def write(
        self, target: Path, names: dict[int, dict[str, tuple[int, bool]]], sizes: dict[int, int]
    ) -> None:
        """Write what would be found, the names being these."""

        def write(inode: int, here: Path) -> None:
            here.mkdir()
            for name, (child, is_folder) in names.get(inode, {}).items():
                if is_folder:
                    write(child, here / name)
                    continue
                size, parts = self.contents.get(child, (sizes.get(child, 0), {}))
                with (here / name).open("wb") as file:
                    for offset, part in parts.items():
                        file.seek(offset)
                        file.write(part)
                    file.truncate(size)

        write(self.root, target)


class Recorder:
    """Follows one process over one directory, and writes what power cuts would leave of it.

    Parameters
    ----------
    root : Path
        The directory.
    into : Path
        Where each cut gets a directory of its own.
    between : int
        Of the flushes between two acknowledgements, every so manyth is a cut, too.
    deep : bool
        Whether flushes are left out of those cuts, too, and not only of what was acknowledged.
    """

    def __init__(self, root: Path, into: Path, between: int, deep: bool) -> None:
        self._root, self._into, self._between, self._deep = root, into, between, deep
        self._disk = Disk.holding(root)
        self._without: dict[str, Disk] = {}
        self._sites: dict[int, str] = {}
        self._sizes: dict[int, int] = {}
        self._flushes = 0
        self.events: list[dict[str, Any]] = []
        self.cuts: list[dict[str, Any]] = []

    def hear(self, thread: int, event: dict[str, Any]) -> None:
        """Take in what the process tells."""
        if "site" in event:
            self._sites[thread] = event["site"]
            self._without.setdefault(event["site"], self._disk.copy())
        elif "site_end" in event:
            self._sites.pop(thread, None)
        else:
            self.events.append(event)
            if "done" in event:
                self.acknowledged()

    def acknowledged(self) -> None:
        """Cut the power now, and as if one flush or the other had never been made."""
        self.cut(self._disk, "")
        for site, disk in self._without.items():
            self.cut(disk, site)

    def flushed(self, thread: int, path: str, status: os.stat_result) -> None:
        """Note that a file or directory is on the disk."""
        disks = [disk for site, disk in self._without.items() if site != self._sites.get(thread)]
        for disk in (self._disk, *disks):
            if stat.S_ISDIR(status.st_mode):
                disk.names[status.st_ino] = names_in(path)
            else:
                disk.contents[status.st_ino] = content_of(path)
        self._flushes += 1
        if self._flushes % self._between == 0:
            self.cut(self._disk, "")
            for site, disk in self._without.items() if self._deep else ():
                self.cut(disk, site)

    def resized(self, status: os.stat_result, size: int) -> None:
        self._sizes[status.st_ino] = size

    def cut(self, disk: Disk, without: str) -> None:
        """Write what a power cut at this moment would leave."""
        live = Disk.holding(self._root).names
        for policy, names in (("strict", disk.names), ("journal", live)):
            target = self._into / str(len(self.cuts))
            disk.write(target, names, self._sizes)
            self.cuts.append(
                {"root": str(target), "policy": policy, "without": without, "events": len(self.events)}
            )


def record(
    job: Callable[[Callable[[Any], None]], None], root: Path, into: Path, between: int, deep: bool
) -> dict[str, Any]:
    """Run a job in a traced child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(job, writing)
    os.close(writing)
    os.set_blocking(reading, False)
    recorder = Recorder(root, into, between, deep)
    told = b""

    def listen(thread: int) -> None:
        nonlocal told
        with contextlib.suppress(BlockingIOError):
            while data := os.read(reading, 1 << 16):
                told += data
        *lines, told = told.split(b"\n")
        for line in lines:
            recorder.hear(thread, json.loads(line))

    os.waitpid(pid, 0)
    _ptrace(_SETOPTIONS, pid, _OPTIONS)
    _ptrace(_CONT, pid, 0)
    for thread, status in _stops(pid):
        if status >> 16 == _EVENT_SECCOMP:
            name, arguments = _call(thread)
            link = _link(thread, arguments[0]) if name != "msync" else _mapped(thread, arguments[0])
            if link is not None and link.startswith("pipe:"):
                listen(thread)
            elif link is not None and Path(link).is_relative_to(root) and os.path.lexists(link):
                found = os.stat(link)  # noqa: PTH116
                if name == "ftruncate":
                    recorder.resized(found, arguments[1])
                else:
                    recorder.flushed(thread, link, found)
    listen(pid)
    os.close(reading)
    recorder.acknowledged()  # to whoever ran it, by its end
    return {"events": recorder.events, "cuts": recorder.cuts, "code": 0, "hung": False}


def _stops(pid: int) -> Iterator[tuple[int, int]]:
    """Yield every stop of the child's threads, each goes on afterwards; until the child has ended."""
    while True:
        thread, status = os.waitpid(-1, _ALL_THREADS)
        if not os.WIFSTOPPED(status):
            if thread == pid:
                return
            continue
        yield thread, status
        number = os.WSTOPSIG(status)
        is_ours = number in (signal.SIGTRAP, signal.SIGSTOP)
        _ptrace(_CONT, thread, 0 if is_ours else number)


def _call(thread: int) -> tuple[str, tuple[int, ...]]:
    info = ctypes.create_string_buffer(88)
    _ptrace(_GET_SYSCALL_INFO, thread, ctypes.addressof(info), len(info))
    number, *arguments = struct.unpack_from("=7Q", info.raw, 24)
    return _CALLS[number], tuple(arguments)


def _ptrace(request: int, thread: int, data: int, address: int = 0) -> None:
    result = _libc.ptrace(request, thread, ctypes.c_void_p(address), ctypes.c_void_p(data))
    if result < 0 and ctypes.get_errno() != 3:  # ESRCH: it was killed meanwhile
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


def _link(thread: int, descriptor: int) -> str | None:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{thread}/fd/{descriptor}").readlink())
    return None


def _mapped(thread: int, address: int) -> str | None:
    for line in Path(f"/proc/{thread}/maps").read_text(errors="replace").splitlines():
        bounds, *_, path = line.split(maxsplit=5) if line.count(" ") > 4 else (line, "")
        start, _, end = bounds.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            return path or None
    return None


# --- the child


def _child(job: Callable[[Callable[[Any], None]], None], told: int) -> None:
    def tell(event: Any) -> None:
        os.write(told, json.dumps(event).encode() + b"\n")
        with contextlib.suppress(OSError):
            fdatasync(told)  # stops us until the recorder has heard it

    fdatasync = os.fdatasync
    tally.boot = lambda: "before the power cut"
    try:
        _libc.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        _filter(list(_CALLS))
        _name_sites(tell)
        job(tell)
    except BaseException:
        tell({"crash": traceback.format_exc()})
    os._exit(0)


def _filter(numbers: list[int]) -> None:
    """Let these system calls of this process, and of its threads, stop it."""
    load, equal, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0)]
    code += [(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    code += [(give, 0, 0, _ALLOW), (give, 0, 0, _TRACE)]
    program = b"".join(struct.pack("=HBBI", *one) for one in code)
    held = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(held)))
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(head), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


def _name_sites(tell: Callable[[Any], None]) -> None:
    """Tell from where in our source each flush is made."""

    def named(flush: Callable[..., Any]) -> Callable[..., Any]:
        def tells(*args: Any) -> Any:
            tell({"site": _site()})
            try:
                return flush(*args)
            finally:
                tell({"site_end": True})

        return tells

    os.fsync, os.fdatasync = named(os.fsync), named(os.fdatasync)
    import qdrant_edge

    shard = qdrant_edge.EdgeShard

    class Named:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        @staticmethod
        def create(*args: Any) -> Any:
            return Named(shard.create(*args))

        @staticmethod
        def load(*args: Any) -> Any:
            return Named(shard.load(*args))

        def __getattr__(self, name: str) -> Any:
            function = getattr(self._inner, name)
            return named(function) if name == "flush" else function

    qdrant_edge.EdgeShard = Named  # type: ignore[misc,assignment]


def _site() -> str:
    """Return the functions of ours that lead to where we are, the nearest first."""
    frame, found = sys._getframe(2), []
    while frame is not None and len(found) < 3:
        path = Path(frame.f_code.co_filename)
        if "serupa" in path.parts and path.stem != "guard" and frame.f_code.co_name != "sync_file":
            found.append(f"{path.stem}.{frame.f_code.co_qualname}")
        frame = frame.f_back  # type: ignore[assignment]
    return " < ".join(found)
