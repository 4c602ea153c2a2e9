"""A web server for tests that fails, stalls and limits as its addresses say."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Answers by what a path says: ``/503``, ``/after-503-2``, ``/stall``, ``/drip``, ``/reset``.

    Whatever comes behind a second slash is the same to it: ``/after-429-1/7.jpg``. What it sends is a file of
    its folder (``/file/a.png``), each with an ETag, else the text "content".
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path | None = None, stall_s: float = 5.0) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.folder = folder
        self.stall_s = stall_s
        self.stalls = False  # whatever it is asked
        self.sent = 0
        self.seen: list[str] = []
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def times(self, path: str) -> int:
        with self.lock:
            return self.seen.count(path)


class _Answers(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.seen.append(self.path)
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            self.answer()
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def answer(self) -> None:
        name = self.path.lstrip("/").partition("?")[0].partition("/")[0]
        if name == "stall" or self.server.stalls:
            time.sleep(self.server.stall_s)
        elif name == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(50):
                self.wfile.write(b"x")
                time.sleep(0.1)
        elif name == "slow":
            time.sleep(0.2)
            self.whole(200)
        elif name == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
        elif name == "redirect":
            self.whole(302, {"Location": "/ok"})
        elif name == "away":
            self.whole(302, {"Location": self.path.partition("?to=")[2]})
        elif name == "packed":
            self.packed()
        elif name == "round":
            self.whole(302, {"Location": "/round"})
        elif name == "file" and self.headers.get("If-None-Match") == f'"{self.path}"':
            self.whole(304)
        elif name == "file":
            self.whole(200, {"ETag": f'"{self.path}"'})
        elif name == "etag" and self.headers.get("If-None-Match") == '"v1"':
            self.whole(304)
        elif name == "etag":
            self.whole(200, {"ETag": '"v1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})
        elif name.startswith("after-"):
            _, status, count = name.split("-")
            first = self.server.times(self.path) <= int(count)
            if first and status == "stall":
                time.sleep(self.server.stall_s)
                first = False
            self.whole(int(status) if first else 200, {"Retry-After": "0"} if first else {})
        else:
            self.whole(int(name) if name.isdigit() else 200)

    def packed(self) -> None:
        """Send so many bytes, compressed, as the address says: ``/packed/gzip/100``; ``-cut`` half of it."""
        _, kind, size = self.path.strip("/").split("/")
        data = gzip.compress(bytes(int(size)))
        data = data[: len(data) // 2] if kind.endswith("-cut") else data
        self.send_response(200)
        self.send_header("Content-Encoding", kind.removesuffix("-cut"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def whole(self, status: int, headers: dict[str, str] | None = None) -> None:
        body = b"" if status == 304 else self.body() if status == 200 else b"content"
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        with self.server.lock:
            self.server.sent += 1
        folder, name = self.server.folder, self.path.rpartition("/")[2].partition("?")[0]
        return (folder / name).read_bytes() if folder is not None else b"content"
