"""Downloads from a server of the test's own that fails, stalls and limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from urllib.parse import quote

import pytest

from serupa import SerupaError
from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from serupa.files import http
from tests.files.web_server import Server

LIMIT = 1 << 20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.01)
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_a_download(server: Server) -> None:
    assert http.fetch(f"{server.base}/ok", LIMIT).data == b"content"
    assert http.fetch(f"{server.base}/redirect", LIMIT).data == b"content"
    with pytest.raises(InvalidInputError):
        http.fetch(f"{server.base}/ok", 3)


def test_what_did_not_change_is_not_sent(server: Server) -> None:
    first = http.fetch(f"{server.base}/etag", LIMIT)
    assert first.validators == {"etag": '"v1"', "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    assert http.fetch(f"{server.base}/etag", LIMIT, known=first.validators).data is None


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("404", NotFoundError, "404"),
        ("410", NotFoundError, "410"),
        ("401", UnavailableError, "401"),
        ("403", UnavailableError, "403"),
        ("418", UnavailableError, "418"),
        ("round", UnavailableError, "redirects"),
    ],
)
def test_what_is_not_tried_again(path: str, error: type[SerupaError], said: str, server: Server) -> None:
    with pytest.raises(error) as caught:
        http.fetch(f"{server.base}/{path}", LIMIT)
    assert said in str(caught.value)
    assert path == "round" or server.times(f"/{path}") == 1


@pytest.mark.parametrize("path", ["429", "500", "503", "reset"])
def test_what_is_tried_again_some_times(path: str, server: Server) -> None:
    with pytest.raises(UnavailableError) as caught:
        http.fetch(f"{server.base}/{path}", LIMIT)
    assert str(caught.value).rstrip().endswith(")") and "()" not in str(caught.value)
    assert server.times(f"/{path}") == 4


@pytest.mark.parametrize("path", ["after-429-2", "after-503-3"])
def test_what_is_over_in_a_moment(path: str, server: Server) -> None:
    assert http.fetch(f"{server.base}/{path}", LIMIT).data == b"content"


@pytest.mark.parametrize("path", ["stall", "drip"])
def test_a_server_that_does_not_answer_in_time(path: str, server: Server) -> None:
    with pytest.raises(UnavailableError) as caught:
        http.fetch(f"{server.base}/{path}", LIMIT, timeout_s=0.3)
    assert "within 0.3 s" in str(caught.value)
    assert server.times(f"/{path}") == 2


def test_a_server_that_stalls_once(server: Server) -> None:
    assert http.fetch(f"{server.base}/after-stall-1", LIMIT, timeout_s=0.5).data == b"content"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a.jpg", "http://no-such-host.invalid/a.jpg", "http://[::1", "http://"]
)
def test_addresses_where_nobody_answers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.01)
    with pytest.raises(SerupaError) as caught:
        http.fetch(url, LIMIT, timeout_s=5)
    assert "()" not in str(caught.value)


def test_many_at_once(server: Server) -> None:
    futures = [http.submit(f"{server.base}/slow?{n}", LIMIT) for n in range(40)]
    assert {future.result().data for future in futures} == {b"content"}
    assert 4 < server.most_at_once <= http.AT_ONCE


def test_all_end_at_once(server: Server) -> None:
    future = http.submit(f"{server.base}/stall", LIMIT)
    while not server.seen:
        time.sleep(0.01)
    http.stop()
    with pytest.raises(CancelledError):
        future.result(timeout=3)
    assert http.fetch(f"{server.base}/ok", LIMIT).data == b"content"


def test_a_proxy_that_cannot_be_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    http.stop()
    monkeypatch.setenv("ALL_PROXY", "nothing://127.0.0.1:9")
    with pytest.raises(UnavailableError):
        http.fetch(f"{server.base}/ok", LIMIT)
    http.stop()


def test_a_host_where_nobody_answers_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_GIVE_UP_AFTER", 4)
    monkeypatch.setattr(http, "_GIVE_UP_S", 0.5)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            http.fetch(f"{server.base}/stall", LIMIT, timeout_s=0.05)
    with pytest.raises(UnavailableError) as caught:
        http.fetch(f"{server.base}/ok", LIMIT)
    assert "given up" in str(caught.value)
    time.sleep(0.6)
    assert http.fetch(f"{server.base}/ok", LIMIT).data == b"content"


@pytest.fixture
def other(server: Server) -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]", "LOCALHOST", "127.0.0.1."]
)
def test_nobody_sends_us_to_a_private_address(server: Server, other: Server, host: str) -> None:
    """Whatever is asked there, a machine that only we can reach does not get it."""
    there = f"http://{host}:{other.server_address[1]}/ok"
    with pytest.raises(SerupaError):
        http.fetch(f"{server.base}/away/?to={there}", LIMIT)
    assert other.seen == []
    assert http.fetch(f"{other.base}/ok", LIMIT).data == b"content"  # which was named


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "2852039166"])
def test_nobody_is_asked_at_a_link_local_address(host: str) -> None:
    """Where clouds keep the credentials of their machines; also where a table names it."""
    with pytest.raises(UnavailableError, match="link-local"):
        http.fetch(f"http://{host}/latest/meta-data/", LIMIT, timeout_s=1.0)


def test_who_was_named_may_send_us_round_itself(server: Server) -> None:
    assert http.fetch(f"{server.base}/away/?to={server.base}/ok", LIMIT).data == b"content"


@pytest.mark.parametrize(
    "there", ["file:///etc/passwd", "ftp://example.org/a", "gopher://127.0.0.1:70/", "//"]
)
def test_nobody_sends_us_to_another_scheme(server: Server, there: str) -> None:
    with pytest.raises(SerupaError):
        http.fetch(f"{server.base}/away/?to={there}", LIMIT)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999/a", "http://127.0.0.1:x/a", "http://[::1/a", "http://\u2488/", "http:///a"],
)
def test_what_is_no_address_is_an_error_of_ours(server: Server, url: str) -> None:
    with pytest.raises(SerupaError):
        http.fetch(url, LIMIT)
    with pytest.raises(SerupaError):
        http.fetch(f"{server.base}/away/?to={quote(url, safe=':/[]')}", LIMIT)


def test_private_addresses_are_known_in_every_form() -> None:
    private = (
        "127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 "
        "::1 :: fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:10.0.0.1 64:ff9b::a9fe:a9fe 2002:7f00:1::"
    )
    assert all(http._is_private(one) for one in private.split())
    assert not any(http._is_private(one) for one in ("93.184.216.34", "2606:2800:220:1::1", "example.org"))


def test_what_is_compressed_is_bounded_as_it_is_unpacked(server: Server) -> None:
    assert http.fetch(f"{server.base}/packed/gzip/1000", LIMIT).data == bytes(1000)
    with pytest.raises(InvalidInputError, match="over the limit"):
        http.fetch(f"{server.base}/packed/gzip/200000000", LIMIT)
    with pytest.raises(UnavailableError, match="not asked for"):
        http.fetch(f"{server.base}/packed/br/10", LIMIT)
    with pytest.raises(UnavailableError, match="ends early"):
        http.fetch(f"{server.base}/packed/gzip-cut/100000", LIMIT)
