"""Runs a job in a process of its own whose system calls can be watched, or refused, by this one (ptrace).

A seccomp filter lets only the calls that are asked for stop it, so that everything else runs at full speed.
It takes Linux, and no rights: a process may always trace its own children.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import struct
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from serupa import SerupaError

Tell = Callable[[Any], None]

_libc = ctypes.CDLL(None, use_errno=True)

# <linux/ptrace.h>, <linux/seccomp.h>, <linux/prctl.h>
_TRACEME, _CONT, _GETREGS, _SETREGS, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 7, 12, 13, 0x4200, 0x420E
_OPTIONS = 0x08 | 0x80 | 0x100000  # clones, seccomp, and kill the process with the tracer
_EVENT_SECCOMP = 7
_SET_SECCOMP, _FILTER, _NO_NEW_PRIVS = 22, 2, 38
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_ALL_THREADS = 0x40000000
_RAX, _ORIG_RAX, _REGISTERS = 10, 15, 27  # <sys/user.h>, user_regs_struct of x86-64

FLUSHING = {
    "x86_64": {74: "fsync", 75: "fsync", 26: "msync", 77: "ftruncate"},
    "aarch64": {82: "fsync", 83: "fsync", 227: "msync", 46: "ftruncate"},
}.get(platform.machine(), {})
"""What brings something to the disk, and what sets a file's size."""

CHANGING = {
    "x86_64": {
        1: "write", 18: "pwrite", 20: "writev", 74: "fsync", 75: "fsync", 26: "msync", 77: "ftruncate",
        257: "openat", 82: "rename", 264: "renameat", 83: "mkdir", 87: "unlink", 263: "unlinkat",
    }
}.get(platform.machine(), {})  # fmt: skip
"""What changes something on the disk, or opens a file."""

_BY_PATH = {"openat": 1, "rename": 0, "renameat": 1, "mkdir": 0, "unlink": 0, "unlinkat": 1}


def trace(
    job: Callable[[Tell], None],
    calls: Mapping[int, str],
    hear: Callable[[int, Any], None],
    stopped: Callable[[int, str, tuple[int, ...], str], None],
    prepare: Callable[[Tell], None] = lambda tell: None,
) -> int:
    """Run a job in a traced child; return how it ended, as `os.waitstatus_to_exitcode`.

    Parameters
    ----------
    job : callable
        Run in the child; called with a function that tells us something JSON-ready.
    calls : mapping of int to str
        The system calls that stop it; fsync is one of them.
    hear : callable
        Called with the thread and what it tells.
    stopped : callable
        Called with the thread, the name and arguments of the call, and the file that it is about.
    prepare : callable
        Run in the child before the job.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(job, calls, prepare, writing)
    os.close(writing)
    os.set_blocking(reading, False)
    told = b""

    def listen(thread: int) -> None:
        nonlocal told
        with contextlib.suppress(BlockingIOError):
            while data := os.read(reading, 1 << 16):
                told += data
        *lines, told = told.split(b"\n")
        for line in lines:
            hear(thread, json.loads(line))

    os.waitpid(pid, 0)
    _ptrace(_SETOPTIONS, pid, _OPTIONS)
    _ptrace(_CONT, pid, 0)
    ended = 0
    for thread, status in _stops(pid):
        if os.WIFSTOPPED(status) and status >> 16 == _EVENT_SECCOMP:
            name, arguments = _call(thread, calls)
            about = _about(thread, name, arguments)
            if about is not None and about.startswith("pipe:"):
                listen(thread)
            elif about is not None:
                stopped(thread, name, arguments, about)
        ended = status
    listen(pid)
    os.close(reading)
    return os.waitstatus_to_exitcode(ended)


def refuse(thread: int, error: int) -> None:
    """Let the call at which a thread has stopped not be made, and fail; on x86-64."""
    registers = (ctypes.c_uint64 * _REGISTERS)()
    _ptrace(_GETREGS, thread, ctypes.addressof(registers))
    registers[_ORIG_RAX] = 2**64 - 1
    registers[_RAX] = 2**64 - error
    _ptrace(_SETREGS, thread, ctypes.addressof(registers))


def _stops(pid: int) -> Iterator[tuple[int, int]]:
    """Yield every stop of the child's threads, each goes on afterwards; and at last how the child ended."""
    while True:
        thread, status = os.waitpid(-1, _ALL_THREADS)
        if not os.WIFSTOPPED(status):
            if thread == pid:
                yield thread, status
                return
            continue
        yield thread, status
        number = os.WSTOPSIG(status)
        is_ours = number in (signal.SIGTRAP, signal.SIGSTOP)
        _ptrace(_CONT, thread, 0 if is_ours else number)


def _call(thread: int, calls: Mapping[int, str]) -> tuple[str, tuple[int, ...]]:
    info = ctypes.create_string_buffer(88)
    _ptrace(_GET_SYSCALL_INFO, thread, ctypes.addressof(info), len(info))
    number, *arguments = struct.unpack_from("=7Q", info.raw, 24)
    return calls[number], tuple(arguments)


def _about(thread: int, name: str, arguments: tuple[int, ...]) -> str | None:
    """Return the path of the file that a call is about; ``pipe:`` and more for a pipe."""
    if name == "msync":
        return _mapped(thread, arguments[0])
    if name not in _BY_PATH:
        return _link(thread, arguments[0])
    with contextlib.suppress(OSError), Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        memory.seek(arguments[_BY_PATH[name]])
        return os.path.abspath(memory.read(4096).split(b"\0")[0].decode(errors="replace"))  # noqa: PTH100
    return None


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


def _child(
    job: Callable[[Tell], None], calls: Mapping[int, str], prepare: Callable[[Tell], None], told: int
) -> None:
    fdatasync = os.fdatasync

    def tell(event: Any) -> None:
        os.write(told, json.dumps(event).encode() + b"\n")
        with contextlib.suppress(OSError):
            fdatasync(told)  # stops us until it was heard

    status = 0
    try:
        _libc.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        _filter(list(calls))
        prepare(tell)
        job(tell)
    except SerupaError as error:
        tell({"refused": str(error)})
    except BaseException:
        tell({"crash": traceback.format_exc()})
        status = 70
    os._exit(status)


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
