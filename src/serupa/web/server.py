"""Runs the application: one process, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING

from serupa.catalog import Catalog
from serupa.errors import MissingExtraError, SerupaError, UnavailableError, UsageError
from serupa.images.isolation import Decoders
from serupa.storage.qdrant.address import is_server
from serupa.web.app import create_app
from serupa.web.logs import Few, OneLine
from serupa.web.pool import decoding_threads
from serupa.web.problems import errors, log_text
from serupa.web.settings import Settings
from serupa.web.tenants import Tenant, Tenants, share_encoders

try:
    import uvicorn

    from serupa.web.connections import impatient
except ImportError as error:
    raise MissingExtraError("serupa serve", "web") from error

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LAST_S = 3  # for closing, once requests have had their time
_KEEP_ALIVE_S = 15
_CONNECTIONS = 2_000
_BACKLOG = 128  # connections that are taken at once, before any of them is counted
_HEAD_BYTES = 262_144  # an address with as many filters as the API takes, each letter written as 12 bytes
_COPIES_OF_BODIES = 2  # as it came, and the photo in it
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
    UsageError
        If more than one worker is asked for.
    SerupaError
        If the catalogue cannot be opened; of several, only if none can.
    UnavailableError
        If the address cannot be listened at.
    """
    _refuse_workers(catalog, workers)
    settings = settings.serving()
    proxies = ",".join(settings.trusted_proxies) or os.environ.get("FORWARDED_ALLOW_IPS", "")
    _log_to_stderr()
    # uvicorn raises the signal that ended it once more; SIGTERM's own action would leave the catalogue open
    before = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            listening = stack.enter_context(_listen(settings.host, settings.port))
            decoders = Decoders(decoding_threads(), settings.decoding_bytes, settings.decoding_s)
            stack.callback(decoders.stop)
            decoders.start()
            if isinstance(catalog, str | os.PathLike):
                opened = [_open(stack, catalog, wait_s)]
                app: ASGIApp = create_app(opened[0], settings)
            else:
                opened, app = _open_tenants(stack, catalog, settings, wait_s)
            config = uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                h11_max_incomplete_event_size=_HEAD_BYTES,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(settings.time_limit_s) + 1,
                backlog=_BACKLOG,
                ws="none",
                http=impatient(settings.time_limit_s, _connections()),
            )
            address = _address(settings.host, listening.getsockname()[1])
            said = (f"Serving {_what(opened)} at {address}", _memory(settings))
            _Server(config, lambda: announce("\n".join(said))).run([listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_workers(catalog: str | os.PathLike[str] | Sequence[Tenant], workers: int) -> None:
    if workers == 1:
        return
    if isinstance(catalog, str | os.PathLike) and not is_server(catalog):
        raise UsageError(
            "--workers",
            "must be 1: an embedded catalogue is held by one process, which uses every processor already",
            "for more, copy the catalogue and serve each copy on a port of its own, behind a load balancer",
        )
    raise UsageError(
        "--workers",
        "must be 1",
        "with catalogues on a server, run this command as often as there are to be processes, each with a "
        "--port of its own, behind a load balancer",
    )


def _open(stack: ExitStack, path: str | os.PathLike[str], wait_s: float) -> Catalog:
    """Open a catalogue and load its encoder: what fails, fails here, with one line."""
    catalog = stack.enter_context(Catalog.open(path, wait_s=wait_s))
    catalog.encoder  # noqa: B018 -- loads it
    return catalog


def _open_tenants(
    stack: ExitStack, tenants: Sequence[Tenant], settings: Settings, wait_s: float
) -> tuple[list[Catalog], Tenants]:
    """Open what can be opened: the damage of one tenant's catalogue is theirs alone."""
    opened: dict[str, Catalog] = {}
    closed: dict[str, Settings] = {}
    failure: SerupaError | None = None
    for tenant in tenants:
        try:
            catalog = stack.enter_context(Catalog.open(tenant.catalog, wait_s=wait_s))
            share_encoders([*opened.values(), catalog])
            catalog.encoder  # noqa: B018 -- loads it
            opened[tenant.name] = catalog
        except SerupaError as error:
            failure = error
            closed[tenant.name] = tenant.settings
            errors.error("tenant %s is not served: %s", tenant.name, log_text(error))
    if failure is not None and not opened:
        raise failure
    apps = {
        one.name: create_app(opened[one.name], one.settings, name=one.name)
        for one in tenants
        if one.name in opened
    }
    return list(opened.values()), Tenants(apps, settings, closed)


def _what(opened: Sequence[Catalog]) -> str:
    items = f"{sum(len(one) for one in opened)} items"
    return items if len(opened) == 1 else f"{items} of {len(opened)} catalogues"


def _memory(settings: Settings) -> str:
    bodies = _COPIES_OF_BODIES * settings.held_mb
    return (
        f"Requests take up to {bodies + settings.decoding_mb:,.0f} MB of memory beside the encoder and the "
        f"catalogue: {bodies:,.0f} for their bodies, {settings.decoding_mb:,.0f} for decoding photos"
    )


class _Server(uvicorn.Server):
    """A server that says when it takes requests, and ends in time when it is told to."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = started
        self._watched = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; where something is stuck, without it. What was acknowledged is on the disk already."""
        super().handle_exit(sig, frame)
        if not self._watched:
            self._watched = True
            seconds = (self.config.timeout_graceful_shutdown or 0) + _LAST_S
            watch = threading.Timer(seconds, _end)
            watch.daemon = True
            watch.start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


def _end() -> None:
    errors.error("something did not end in time: the process ends without it")
    os._exit(1)


def _connections() -> int:
    """Return how many connections may be open: what the files that this process may open leave room for.

    More files are asked for, as far as the system lets a process have them.
    """
    try:
        import resource
    except ImportError:  # Windows
        return _CONNECTIONS
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS + _BACKLOG + _OTHER_FILES
    if 0 <= files < wanted:
        files = wanted if most < 0 else min(most, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return _CONNECTIONS if files < 0 else max(16, min(_CONNECTIONS, files - _BACKLOG - _OTHER_FILES))


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
        problem = f"cannot be listened at: {error.strerror or error}"
        raise UnavailableError(f"{host}:{port}", problem, "choose another --port or --host") from None


def _address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 -- compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _log_to_stderr() -> None:
    """Write access lines as they are (JSON), and the rest with its level; nothing of uvicorn's chatter."""
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(logging.Formatter("%(message)s"))
    leveled = logging.StreamHandler(sys.stderr)
    leveled.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    leveled.addFilter(Few())
    for name, handler, level in (
        ("serupa.access", plain, logging.INFO),
        ("serupa.error", leveled, logging.INFO),
        ("serupa.storage", leveled, logging.INFO),
        ("uvicorn", leveled, logging.WARNING),
        ("asyncio", leveled, logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
