"""The container's files agree with what there is: commands, flags, paths, variables. No Docker is needed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from serupa.cli.commands import app
from serupa.files.cache import cache_dir
from serupa.web import Settings
from serupa.web.settings import load_settings
from tests.web.conftest import Served

ROOT = Path(__file__).parents[2]
USERS_KEY = "a-write-key-of-24-letters"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def given(name: str) -> str:
    """What the last stage says with an instruction that it has once."""
    stages = [place for place, (one, _) in enumerate(instructions()) if one == "FROM"]
    (text,) = [text for one, text in instructions()[stages[-1] :] if one == name]
    return text


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(given("ENV")))


def parsed(words: list[str]) -> dict[str, Any]:
    """What `serupa WORDS` would be called with; fails where a command or a flag does not exist."""
    group: Any = typer.main.get_command(app)
    command = group.commands[words[0]]
    with command.make_context(words[0], words[1:]) as context:
        return dict(context.params)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return read


def test_command_of_the_image_exists_and_is_reached_from_outside() -> None:
    assert json.loads(given("ENTRYPOINT")) == ["serupa"]
    called = parsed(json.loads(given("CMD")))
    settings = load_settings(None, {"host": called["host"], "port": called["port"]}, {})
    assert settings.host == "0.0.0.0"  # noqa: S104 -- of the container
    assert str(settings.port) == given("EXPOSE")
    volumes = json.loads(given("VOLUME"))
    assert str(Path(called["catalog"]).parent) in volumes
    assert environment()["SERUPA_CACHE"] in volumes


def test_image_is_built_from_files_that_are_there_and_sent() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert ignore[0] == "*"
    copied = [text.split() for name, text in instructions() if name == "COPY" and "--from" not in text]
    for source in (source for words in copied for source in words[:-1]):
        assert (ROOT / source).exists(), source
        assert f"!{source.removeprefix('./')}" in ignore
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {project["readme"], *project["license-files"], "pyproject.toml", "constraints.txt", "src"}
    assert needed == {source for words in copied for source in words[:-1]}
    (installed,) = [text for name, text in instructions() if name == "RUN" and "pip install" in text]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", installed)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    (version,) = {text.split()[0] for name, text in instructions() if name == "FROM"}
    assert version == f"python:{project['requires-python'].removeprefix('>=')}-slim"
    assert not any(fnmatch("src", one) for one in ignore[1:] if not one.startswith("!"))


def test_image_runs_as_a_user_that_owns_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    user = given("USER")
    assert user not in ("root", "0")
    (made,) = [text for name, text in instructions() if name == "RUN" and "useradd" in text]
    assert re.search(rf"useradd .*\b{user}\b", made)
    (owned,) = re.findall(rf"install --directory --owner {user} (.+)", made)
    assert set(owned.split()) == set(json.loads(given("VOLUME")))
    monkeypatch.setenv("SERUPA_CACHE", environment()["SERUPA_CACHE"])
    assert cache_dir() == Path(environment()["SERUPA_CACHE"])


def test_health_check_asks_a_server_that_runs(served: Served) -> None:
    words = json.loads(given("HEALTHCHECK").partition("CMD")[2])
    command = [sys.executable, *words[1:-1]]
    assert words[0] == "python"
    for address, code in ((served.url, 0), ("http://127.0.0.1:9", 1)):
        asked = words[-1].replace(f"http://127.0.0.1:{given('EXPOSE')}", address)
        assert address in asked
        done = subprocess.run([*command, asked], capture_output=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr


def test_compose_gives_what_the_image_takes(compose: dict[str, Any]) -> None:
    (service,) = compose["services"].values()
    assert (ROOT / service["build"] / "Dockerfile").is_file()
    assert service["ports"] == [f"127.0.0.1:{given('EXPOSE')}:{given('EXPOSE')}"]
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert set(json.loads(given("VOLUME"))) <= set(mounted.values())
    assert {source for source in mounted if "/" not in source} == set(compose["volumes"])
    assert service["read_only"]  # what is written goes to the volumes and to /tmp
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 -- of the container
    grace = int(re.fullmatch(r"(\d+)s", service["stop_grace_period"])[1])  # type: ignore[index]
    assert grace > Settings().time_limit_s + 1


def test_variables_of_compose_are_read(compose: dict[str, Any]) -> None:
    (service,) = compose["services"].values()
    names = service["environment"]
    assert all(text == f"${{{name}:-}}" for name, text in names.items())  # empty unless the user sets it
    empty = load_settings(None, {}, dict.fromkeys(names, ""))
    assert (empty.api_key_sha256, empty.read_key_sha256) == (None, None)
    keyed = load_settings(None, {}, dict.fromkeys(names, USERS_KEY))
    assert None not in (keyed.api_key_sha256, keyed.read_key_sha256)


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml", "docs/serve.md"])
def test_commands_that_are_told_exist(file: str, compose: dict[str, Any]) -> None:
    text = (ROOT / file).read_text()
    called = re.findall(r"(?:docker compose run --rm serupa|docker run .* serupa) ((?:index|info) .+)", text)
    for line in called:
        found = parsed(shlex.split(line))
        assert found["catalog"] == parsed(json.loads(given("CMD")))["catalog"]
    assert called
