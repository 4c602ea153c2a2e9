"""Runs the application: one process, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import FrameType

from serupa.catalog import Catalog
from serupa.errors import CatalogError, MissingExtraError
from serupa.storage.qdrant.address import is_server
from serupa.web.app import create_app
from serupa.web.settings import Settings, SettingsError
from serupa.web.tenants import Tenant, Tenants, share_encoders

try:
    import uvicorn

    from serupa.web.connections import impatient
except ImportError as error:
    raise MissingExtraError("serupa serve", "web") from error

_KEEP_ALIVE_S = 15
_CONNECTIONS = 2_000
_HEAD_BYTES = 262_144  # an address with as many filters as the API takes, each letter written as 12 bytes
_OTHER_FILES = 300  # the engine's, and photos that are read


def run(
    catalog: str | os.PathLike[str] | Sequence[Tenant],
    settings: Settings,
    *,
    workers: int = 1,
    wait_s: float = 0.0,
    announce: Callable[[str], None],
) -> None:
    """Serve a catalogue, or those of tenants, until SIGINT or SIGTERM; what was begun is answered first.

    Parameters
    ----------
    catalog : path or sequence of Tenant
        The catalogue's directory or address; or whoever is served, each by keys of their own.
    settings : Settings
    workers : int
        Only 1 is possible; the message says how to have more.
    wait_s : float
        How long to wait for another process that holds the catalogue.
    announce : callable
        Is told the address, once requests are taken.

    Raises
    ------
    CatalogError
        If the catalogue cannot be opened, or more than one worker is asked for.
    SettingsError
        If the address cannot be listened at.
    """
    if workers > 1 and (not isinstance(catalog, str | os.PathLike) or is_server(catalog)):
        raise CatalogError(
            "--workers must be 1: with catalogues on a server, run this command as often as there are to be "
            "processes, each with a --port of its own, behind a load balancer"
        )
    if workers > 1:
        raise CatalogError(
            f"{catalog}: an embedded catalogue is held by one process, so --workers must be 1 (it uses every "
            "processor already); for more, copy the catalogue and serve each copy on a port of its own, "
            "behind a load balancer"
        )
    tenants = [] if isinstance(catalog, str | os.PathLike) else list(catalog)
    paths = (
        [os.fspath(catalog)] if isinstance(catalog, str | os.PathLike) else [one.catalog for one in catalog]
    )
    _log_to_stderr()
    # uvicorn raises the signal that ended it once more; SIGTERM's own action would leave the catalogue open
    before = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            opened = [stack.enter_context(Catalog.open(path, wait_s=wait_s)) for path in paths]
            listening = stack.enter_context(_listen(settings.host, settings.port))
            share_encoders(opened)
            for one in opened:
                one.encoder  # noqa: B018 -- fails here, with one line, and not in a started server
            config = uvicorn.Config(
                _tenants(tenants, opened, settings) if tenants else create_app(opened[0], settings),
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=_HEAD_BYTES,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(settings.time_limit_s) + 1,
                limit_concurrency=_connections(),
                http=impatient(settings.time_limit_s),
            )
            address = _address(settings.host, listening.getsockname()[1])
            _Server(config, lambda: announce(f"Serving {_what(opened)} at {address}")).run([listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tenants(tenants: Sequence[Tenant], opened: Sequence[Catalog], settings: Settings) -> Tenants:
    pairs = zip(tenants, opened, strict=True)
    return Tenants({one.name: create_app(catalog, one.settings) for one, catalog in pairs}, settings)


def _what(opened: Sequence[Catalog]) -> str:
    items = f"{sum(len(one) for one in opened)} items"
    return items if len(opened) == 1 else f"{items} of {len(opened)} catalogues"


class _Server(uvicorn.Server):
    """A server that says when it takes requests."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


def _connections() -> int:
    """Return how many connections may be open: what the files that a process may open leave room for."""
    try:
        import resource
    except ImportError:  # Windows
        return _CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if files < 0 else max(16, min(_CONNECTIONS, files - _OTHER_FILES))


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    listening = None
    try:
        # asyncio sends at once (TCP_NODELAY) only on sockets that say they are TCP; on one of
        # socket.create_server, which does not, each answer would wait 40 ms for an acknowledgement
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
        return listening
    except OSError as error:
        if listening is not None:
            listening.close()
        raise SettingsError(
            f"{host}:{port} cannot be listened at: {error.strerror or error}; choose another --port or --host"
        ) from None


def _address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 -- compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _log_to_stderr() -> None:
    """Write access lines as they are (JSON), and the rest with its level; nothing of uvicorn's chatter."""
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(logging.Formatter("%(message)s"))
    leveled = logging.StreamHandler(sys.stderr)
    leveled.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name, handler, level in (
        ("serupa.access", plain, logging.INFO),
        ("serupa.error", leveled, logging.INFO),
        ("uvicorn", leveled, logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
