"""The server as its users run it: started, asked, told to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog, Item
from serupa.errors import MissingExtraError, NotFoundError, SerupaError, UnavailableError, UsageError
from serupa.web.server import _listen

KEY = "a-write-key-of-24-letters"
COMMAND = [sys.executable, "-m", "serupa", "serve", "--port", "0"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "catalog"
    with Catalog.create(folder) as made:
        made.add([*items[:6], Item("100%25/a b", items[6].image)])
    return folder


class Process:
    """A running `serupa serve`. Its log goes to a file: a pipe that nobody empties would stop it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed by close
        self._popen = subprocess.Popen(command, stderr=self._log, text=True, env=os.environ | environment)

    def address(self) -> str:
        """Wait until it says where it serves."""
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://[\d.:]+\n", self.log())):
            assert self.running and time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return found[0].strip()

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def tell(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Wait for its end; return how it ended, and its log."""
        return self._popen.wait(timeout=20), self.log()

    def close(self) -> None:
        self._popen.kill()
        self._popen.wait()
        self._log.close()


@contextmanager
def serving(shop: Path, *flags: str, **environment: str) -> Iterator[tuple[str, Process]]:
    """Run `serupa serve`; yield its address and its process."""
    with closing(Process([*COMMAND, "-c", str(shop), *flags], environment)) as process:
        yield process.address(), process


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read())


def request_of(photo: bytes, host: str) -> bytes:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        + photo
        + b"\r\n--x--\r\n"
    )
    head = (
        f"POST /api/v1/search HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {len(form)}\r\n\r\n"
    )
    return head.encode() + form


def connection(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def answer_of(stream: socket.socket) -> tuple[int, dict[str, Any]]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(65536)
        assert more, data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
    while len(body) < length:
        body += stream.recv(65536)
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_first_and_closes_the_catalog(
    shop: Path, items: list[Item], number: signal.Signals
) -> None:
    with serving(shop) as (url, process), connection(url) as stream:
        whole = request_of(Path(items[2].image).read_bytes(), "127.0.0.1")
        stream.sendall(whole[:-500])
        time.sleep(0.3)
        process.tell(number)
        time.sleep(0.3)
        assert process.running
        stream.sendall(whole[-500:])
        status, told = answer_of(stream)
        assert (status, told["hits"][0]["id"]) == (200, items[2].id)
        code, errors = process.ended()
        assert code == 0, errors
        assert "Traceback" not in errors
    with Catalog.open(shop) as opened:
        assert len(opened) == 7


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """asyncio sets TCP_NODELAY on accepted sockets whose listener says that it is TCP, and on no others."""
    with _listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_served_catalog_is_held_and_its_key_stays_secret(shop: Path, items: list[Item]) -> None:
    with serving(shop, SERUPA_API_KEY=KEY) as (url, process):
        assert get(f"{url}/api/v1/info")["writable"] is True
        assert get(f"{url}/api/v1/items/100%2525%2Fa%20b")["id"] == "100%25/a b"
        second = subprocess.run(
            [*COMMAND, "-c", str(shop)], capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode != 0
        assert "in use by" in second.stderr
        port = url.rsplit(":", 1)[1]
        process.tell(signal.SIGTERM)
        _, errors = process.ended()
        lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
        assert [line["path"] for line in lines] == ["/api/v1/info", "/api/v1/items/100%25/a b"]
        assert KEY not in errors
    with socket.create_server(("127.0.0.1", int(port))):
        taken = subprocess.run(
            [*COMMAND, "-c", str(shop), "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert taken.returncode == UnavailableError.exit_status
    assert f"127.0.0.1:{port}" in taken.stderr
    assert "Traceback" not in taken.stderr


def test_answer_to_a_large_body_arrives_while_the_client_still_sends(shop: Path) -> None:
    with serving(shop, "--limit-mb", "1") as (url, _), connection(url) as stream:
        stream.sendall(request_of(os.urandom(4_000_000), "127.0.0.1"))
        status, told = answer_of(stream)
        assert status == 413
        assert "1 MB" in told["detail"]
        assert get(f"{url}/healthz") == {"status": "ok"}


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (["--workers", "2"], UsageError),
        (["--api-key", "short"], UsageError),
        (["--cors-origin", "shop.example"], UsageError),
        (["--queue", "0"], UsageError),
        (["--config", "none.toml"], NotFoundError),
    ],
)
def test_wrong_settings_are_one_line(shop: Path, flags: list[str], cause: type[SerupaError]) -> None:
    run = [*COMMAND, "-c", str(shop), *flags]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == cause.exit_status
    assert len(done.stderr.splitlines()) == 1


def test_without_the_extra_one_line_says_which(shop: Path) -> None:
    hide = (
        "import sys\n"
        "for name in ('fastapi', 'pydantic', 'starlette', 'uvicorn'): sys.modules[name] = None\n"
        "from serupa.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide, "serve", "-c", str(shop)], capture_output=True, text=True, check=False
    )
    assert done.returncode == MissingExtraError.exit_status
    assert "serupa[web]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_told_to_stop_it_ends_in_time_whatever_is_stuck(shop: Path, items: list[Item]) -> None:
    stuck = (
        "import sys, time\n"
        "from serupa.encoders.encoder import Encoder\n"
        "Encoder.preprocess = lambda *_: time.sleep(200)\n"
        "from serupa.cli import main\nmain()"
    )
    command = [sys.executable, "-c", stuck, *COMMAND[3:], "-c", str(shop), "--time-limit", "1"]
    with closing(Process(command, {})) as process:
        url = process.address()
        with connection(url) as stream:
            stream.sendall(request_of(Path(items[0].image).read_bytes(), "127.0.0.1"))
            time.sleep(0.5)
            process.tell(signal.SIGTERM)
            code, log = process.ended()
    assert code == 1
    assert "did not end in time" in log
    with Catalog.open(shop) as opened:
        assert len(opened) == 7
