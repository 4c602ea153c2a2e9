"""The nursery, and a shop for each test to break."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import shop


class Nursery:
    """Runs jobs in children of a warm process (see `tests.faults.nursery`)."""

    def __init__(self, cache: Path) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
            "SERUPA_CACHE": str(cache),
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )

    def run(self, job: str, *, expect: int | None = 0, **request: Any) -> list[dict[str, Any]]:
        """Run a job and return its events; `expect` is how it must end, None for anything but a hang."""
        limits = {name: request.pop(name) for name in _LIMITS if name in request}
        answer = self.ask({"job": job, "args": request, **limits})
        assert not answer["hung"], answer
        if expect is not None:
            assert answer["code"] == expect, answer["events"][-3:]
        return answer["events"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


_LIMITS = (
    "kill_s",
    "kill_from_event",
    "kill_step",
    "count_steps",
    "file_limit",
    "user",
    "exact_below",
    "record",
)


@pytest.fixture(scope="session")
def nursery(cache: Path) -> Iterator[Nursery]:
    made = Nursery(cache)
    yield made
    made.close()


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing there that a disk would keep."""
    shared = Path("/dev/shm")  # noqa: S108
    if not os.access(shared, os.W_OK):
        yield tmp_path_factory.mktemp("faults")
        return
    with tempfile.TemporaryDirectory(prefix="serupa-faults-", dir=shared) as folder:
        yield Path(folder)


def copy_tree(source: Path, target: Path) -> Path:
    """Copy a folder, its holes as holes: a catalogue of 24 items is 300 MB of them."""
    subprocess.run(["cp", "-a", "--sparse=auto", source, target], check=True)
    return target


@pytest.fixture(scope="session")
def drawn(memory: Path) -> Path:
    """The encoder and photos of the shop, with no catalogue; not to be changed."""
    shop.write_shop(memory / "drawn")
    return memory / "drawn"


@pytest.fixture(scope="session")
def stocked(nursery: Nursery, drawn: Path, memory: Path) -> Path:
    """A shop whose catalogue holds 24 items; not to be changed."""
    root = copy_tree(drawn, memory / "stocked")
    nursery.run("fill", root=root, count=24)
    return root


@pytest.fixture(scope="session")
def stock(nursery: Nursery, stocked: Path) -> dict[str, Any]:
    """What that catalogue holds."""
    (told,) = nursery.run("look", root=stocked)
    return dict(told["holds"])


@pytest.fixture
def new(drawn: Path, memory: Path) -> Iterator[Path]:
    """A shop without a catalogue, to be broken."""
    root = copy_tree(drawn, memory / "new")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def root(stocked: Path, memory: Path) -> Iterator[Path]:
    """A shop whose catalogue holds 24 items, to be broken."""
    root = copy_tree(stocked, memory / "broken")
    yield root
    shutil.rmtree(root)
