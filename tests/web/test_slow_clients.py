"""Clients that are too slow, or too many: they lose their connection, and nobody else notices."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serupa import Catalog, Item
from serupa.web.server import _connections
from tests.web.test_api_server import Process, answer_of, connection, get, request_of, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Iterator[str]:
    shop = tmp_path_factory.mktemp("slow") / "catalog"
    with Catalog.create(shop) as made:
        made.add(items[:6])
        long = {f"note {n}": "words that nobody reads " * 200 for n in range(20)}
        made.add([Item(f"long-{n}", items[n % 6].image, attributes=long) for n in range(60)])
    with serving(shop, "--time-limit", "1") as (url, _):
        yield url


@pytest.fixture(scope="module")
def shop_of_one(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Path:
    folder = tmp_path_factory.mktemp("one") / "catalog"
    with Catalog.create(folder) as made:
        made.add(items[:1])
    return folder


def closed(stream: socket.socket) -> bool:
    """Wait until the server closes a connection without an answer."""
    stream.settimeout(20)
    try:
        return stream.recv(100) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"POST /api/v1/search HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A"])
def test_a_head_that_does_not_come(server: str, sent: bytes) -> None:
    with connection(server) as stream:
        stream.sendall(sent)
        assert closed(stream)
    assert get(f"{server}/healthz") == {"status": "ok"}


def test_a_head_that_comes_byte_by_byte(server: str) -> None:
    with connection(server) as stream:
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - started < 20:
                stream.sendall(b"x")
                time.sleep(0.1)
        assert closed(stream)


def test_the_second_request_of_a_connection_has_no_more_time(server: str) -> None:
    with connection(server) as stream:
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(stream)[0] == 200
        stream.sendall(b"GET /healthz HT")
        assert closed(stream)


def test_a_quick_client_keeps_its_connection(server: str, items: list[Item]) -> None:
    photo = Path(items[2].image).read_bytes()
    with connection(server) as stream:
        for _ in range(4):
            stream.sendall(request_of(photo, "127.0.0.1"))
            status, told = answer_of(stream)
            assert (status, told["hits"][0]["distance"] < 1e-4) == (200, True)
            time.sleep(0.4)  # together longer than the limit


def test_a_body_that_comes_byte_by_byte(server: str, items: list[Item]) -> None:
    whole = request_of(Path(items[0].image).read_bytes(), "127.0.0.1")
    with connection(server) as stream:
        stream.sendall(whole[:-400])
        for byte in whole[-400:]:
            try:
                stream.sendall(bytes([byte]))
            except ConnectionError:
                break
            stream.settimeout(0.1)
            try:
                answer = stream.recv(12, socket.MSG_PEEK)
            except TimeoutError:
                continue
            if answer:
                break
        stream.settimeout(20)
        assert answer_of(stream)[0] == 408


@pytest.mark.slow
def test_an_answer_that_is_not_taken(server: str) -> None:
    """The connection is cut, and its megabytes are let go of."""
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = server.removeprefix("http://").split(":")
        stream.connect((host, int(port)))
        for _ in range(8):  # 6 MB each: more than the system's buffers hold
            stream.sendall(b"GET /api/v1/items?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(3)
        stream.settimeout(20)
        received = 0
        try:
            while more := stream.recv(1 << 20):
                received += len(more)
        except ConnectionError:
            pass
        assert received < 40_000_000
    assert get(f"{server}/healthz") == {"status": "ok"}


def test_many_idle_clients_do_not_keep_others_out(server: str) -> None:
    idle = [connection(server) for _ in range(200)]
    try:
        assert get(f"{server}/healthz") == {"status": "ok"}
        assert all(closed(one) for one in idle)
    finally:
        for one in idle:
            one.close()


def test_connections_leave_room_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    asked = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    for files, most, expected in (
        (1024, 1024, 596),
        (1024, -1, 2000),
        (1024, 2000, 1572),
        (100_000, 100_000, 2000),
        (-1, -1, 2000),
        (64, 64, 16),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files, most=most: (files, most))
        assert _connections() == expected
    assert asked == [(1024, 1024), (2428, -1), (2000, 2000), (64, 64)]


def test_idle_clients_make_room_for_busy_ones(shop_of_one: Path, items: list[Item]) -> None:
    """More connections than files: whoever asks is answered, and a file is left for a photo."""
    photo = Path(items[0].image).read_bytes()
    limited = f"ulimit -n 500; exec {sys.executable} -m serupa serve --port 0 -c {shop_of_one}"
    with closing(Process(["sh", "-c", limited], {})) as process:
        url = process.address()
        idle = [connection(url) for _ in range(400)]
        try:
            for _ in range(3):
                with connection(url) as stream:
                    stream.sendall(request_of(photo, "127.0.0.1"))
                    assert answer_of(stream)[0] == 200
                assert get(f"{url}/healthz") == {"status": "ok"}
            assert any(closed(one) for one in idle[:1])
        finally:
            for one in idle:
                one.close()
        assert "Traceback" not in process.log()


def test_two_lengths_are_refused(server: str) -> None:
    """What a proxy takes for one request, we might take for two."""
    with connection(server) as stream:
        stream.sendall(
            b"POST /api/v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert answer_of(stream)[0] == 400
        assert closed(stream)
