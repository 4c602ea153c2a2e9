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

import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serupa.files.atomic import blocks
from serupa.storage.local import tally
from tests.faults import tracing

Content = tuple[int, dict[int, bytes]]
"""A file's size, and what of it is not zeros."""


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
    recorder = Recorder(root, into, between, deep)

    def stopped(thread: int, name: str, arguments: tuple[int, ...], path: str) -> None:
        if Path(path).is_relative_to(root) and os.path.lexists(path):
            found = os.stat(path)  # noqa: PTH116
            if name == "ftruncate":
                recorder.resized(found, arguments[1])
            else:
                recorder.flushed(thread, path, found)

    code = tracing.trace(job, tracing.FLUSHING, recorder.hear, stopped, _name_sites)
    recorder.acknowledged()  # to whoever ran it, by its end
    return {"events": recorder.events, "cuts": recorder.cuts, "code": code, "hung": False}


def _name_sites(tell: Callable[[Any], None]) -> None:
    """Tell from where in our source each flush is made."""
    tally.boot = lambda: "before the power cut"

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
