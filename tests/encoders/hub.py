"""A small hub on loopback: folders as repositories, in the protocol that `huggingface_hub` speaks."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.ThreadingHTTPServer):
    """Serves the files of repositories; cuts an answer short, or changes a file, where it is told to."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repositories = repositories
        self.revision = REVISION
        self.gated: set[str] = set()
        self.cut: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []

    def run(self, code: str, *arguments: str, **environment: str) -> str:
        """Run code in a process of its own: the hub's library reads its settings when it is imported."""
        settings = {
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **environment,
        }
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, check=False, env=settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def repository(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@contextmanager
def serving(repositories: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    with Hub(repositories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        wanted = self.headers.get("Range") if body else None
        self.server.asked.append((self.path, wanted))
        api = re.match(r"/api/models/([\w.-]+/[\w.-]+)(?:/revision/([\w.%-]+))?(?:\?.*)?\Z", self.path)
        file = re.match(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)\Z", self.path)
        found = api or file
        if found is None or found[1] not in self.server.repositories:
            self._refuse(401 if found else 404, "RepoNotFound")
        elif found[1] in self.server.gated:
            self._refuse(401, "GatedRepo")
        elif found[2] not in (None, "main", self.server.revision):
            self._refuse(404, "RevisionNotFound")
        elif api is not None:
            self._send_json(api[1])
        elif file is not None:
            content = self.server.repositories[file[1]].get(file[3])
            if content is None:
                self._refuse(404, "EntryNotFound")
            else:
                self._send_file(file[3], content, wanted, body)

    def _send_json(self, repository: str) -> None:
        siblings = [{"rfilename": name} for name in self.server.repositories[repository]]
        values = {"id": repository, "sha": self.server.revision, "siblings": siblings, "tags": []}
        data = json.dumps(values | {"cardData": {"license": "mit"}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_file(self, name: str, content: bytes, wanted: str | None, body: bool) -> None:
        start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
        data = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.server.revision)
        self.send_header("Content-Length", str(len(data)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            cut = self.server.cut.pop(name, None)
            self.wfile.write(data[:cut])
            if cut is not None:
                self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass
