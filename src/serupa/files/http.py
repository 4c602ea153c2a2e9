"""Downloads over HTTP: many at once, with time limits, tried again where that helps.

What somebody named is fetched wherever it is, but for link-local addresses, where clouds keep the credentials
of their machines, and nobody photos. Where a server sends us on is another matter: it would have us ask the
machines that only we can reach. So a redirect to another host ends where that has a private address.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
import threading
import zlib
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from serupa.errors import InvalidInputError, NotFoundError, SerupaError, UnavailableError

if TYPE_CHECKING:
    import httpx2

TIMEOUT_S = 15.0
"""How long one attempt to download a photo may take, unless something else is asked for."""

AT_ONCE = 32
"""Downloads under way at the same time; half of it from one host."""

_ATTEMPTS = 4
_BACKOFF_S = 0.5
_LONGEST_WAIT_S = 30.0
_GIVE_UP_AFTER = 64  # downloads from one host that failed without an answer, and none in between
_GIVE_UP_S = 60.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = 10
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses behind a translator (RFC 6052)
_GZIP = 16 + zlib.MAX_WBITS
_AGENT = "serupa (product photo indexing)"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a download brought.

    Parameters
    ----------
    data : bytes or None
        The content; None where it is as it was.
    validators : mapping of str to str
        What the server tells this version by, to be sent along next time: ``etag``, ``modified``.
    kind : str
        Its media type.
    """

    data: bytes | None
    validators: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""


def host_of(url: str) -> str:
    """Return the host and port of an address.

    Raises
    ------
    InvalidInputError
        If it is no address.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- one that there cannot be raises
        return parts.netloc
    except ValueError as error:
        raise InvalidInputError(url, f"not an address ({error})") from None


def is_http(address: str) -> bool:
    """Tell whether an address is one of the web."""
    return address[:8].lower().startswith(("http://", "https://"))


def fetch(
    url: str, limit: int, *, known: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> Fetched:
    """Download, and wait for it.

    Parameters
    ----------
    url : str
    limit : int
        Bytes that it may have.
    known : mapping, optional
        The validators of the version that is there.
    timeout_s : float, optional
        How long one attempt may take in all; `TIMEOUT_S` unless given.

    Raises
    ------
    NotFoundError
        If there is nothing at the address.
    InvalidInputError
        If it is larger than the limit, or no address.
    UnavailableError
        If the server does not answer, refuses, or fails; also after some attempts where trying again helps.
    """
    return submit(url, limit, known=known, timeout_s=timeout_s).result()


def submit(
    url: str, limit: int, *, known: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> Future[Fetched]:
    """Begin to download as `fetch` does; the future is done when it is."""
    return _downloads().start(_Download(url, limit, known or {}, timeout_s or TIMEOUT_S))


def stop() -> None:
    """End all downloads that are under way: their futures are cancelled."""
    global _running
    with _lock:
        running, _running = _running, None
    if running is not None:
        running.stop()


@dataclass(frozen=True, slots=True)
class _Download:
    url: str
    limit: int
    known: Mapping[str, str]
    timeout_s: float


class _RetryError(Exception):
    """An attempt that failed in a way that may be over in a moment."""

    def __init__(
        self,
        error: SerupaError,
        after_s: float | None = None,
        *,
        attempts: int = _ATTEMPTS,
        is_silent: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s
        self.attempts = attempts
        self.is_silent = is_silent


_lock = threading.Lock()
_running: _Downloads | None = None


def _downloads() -> _Downloads:
    global _running  # noqa: PLW0603
    with _lock:
        if _running is None:
            _running = _Downloads()
        return _running


@dataclass(slots=True)
class _Hop:
    """Where a download is: at the host that was named, or where that sent it."""

    named: str
    is_away: bool = False
    refused: bool = False

    def refuses(self, host: str) -> bool:
        """Tell whether no connection is made to a host."""
        return _is_private(host, link_local=not self.is_away)

    def refusal(self, url: str) -> UnavailableError:
        """Return what is said of it."""
        if self.is_away:
            hint = "name that address itself, if it is meant"
            return UnavailableError(url, "it redirects to a private address", hint)
        return UnavailableError(url, "link-local addresses are never asked")


_hop: ContextVar[_Hop | None] = ContextVar("_hop", default=None)


async def _go_on(request: httpx2.Request) -> None:
    """Note where the next request goes; a proxy connects by itself, so the address is looked at here, too."""
    hop = _hop.get()
    if hop is not None:
        hop.is_away = request.url.netloc.decode("ascii", "replace").lower() != hop.named.lower()
        if hop.refuses(request.url.host):
            raise hop.refusal(str(request.url))


def _is_private(host: str, *, link_local: bool = False) -> bool:
    """Tell whether a host is an address, and one that not everybody can reach; or a link-local one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in _TRANSLATED:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        else:
            address = address.ipv4_mapped or address.sixtofour or address
    return address.is_link_local if link_local else not address.is_global or address.is_multicast


class _Loop(asyncio.SelectorEventLoop):
    """Every connection of a download is made here, by its address: names were looked up before."""

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        hop = _hop.get()
        if hop is not None and hop.refuses(str(host)) and str(host) not in _proxies():
            hop.refused = True
            raise OSError("a private address")
        return await super().create_connection(protocol_factory, host, port, **more)


@cache
def _proxies() -> frozenset[str]:
    """Return the addresses of the proxies that the environment names."""
    found: set[str] = set()
    for proxy in getproxies().values():
        with contextlib.suppress(OSError, ValueError):
            parts = urlsplit(proxy)
            found.update(str(one[4][0]) for one in socket.getaddrinfo(parts.hostname, parts.port))
    return frozenset(found)


class _Downloads:
    """A thread with an event loop of its own, which all downloads of the process share."""

    def __init__(self) -> None:
        self._loop = _Loop()
        self._client: httpx2.AsyncClient | None = None
        self._places = asyncio.Semaphore(AT_ONCE)
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._not_before: dict[str, float] = {}
        self._silent: dict[str, int] = {}  # downloads without an answer in a row, by host
        self._given_up_until: dict[str, float] = {}
        threading.Thread(target=self._loop.run_forever, name="downloads", daemon=True).start()

    def start(self, download: _Download) -> Future[Fetched]:
        """Begin a download."""
        return self._submit(self._fetch(download))

    def _submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Cancel everything and end the thread."""

        async def end() -> None:
            tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._loop.stop()

        asyncio.run_coroutine_threadsafe(end(), self._loop)

    async def _fetch(self, download: _Download) -> Fetched:
        host = host_of(download.url)
        one_host = self._hosts.setdefault(host, asyncio.Semaphore(AT_ONCE // 2))
        for attempt in range(_ATTEMPTS):
            await self._wait_for(host)
            try:
                async with one_host, self._places:
                    self._refuse_given_up(host, download.url)
                    return await self._attempt(download, host)
            except _RetryError as failed:
                delay = failed.after_s
                if delay is None:
                    delay = _BACKOFF_S * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 -- no secret
                if attempt >= failed.attempts - 1 or delay > _LONGEST_WAIT_S:
                    raise failed.error from None
                if failed.after_s is not None:  # the server speaks of all requests, not of this one alone
                    self._not_before[host] = max(self._not_before.get(host, 0.0), self._loop.time() + delay)
                else:
                    await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def _wait_for(self, host: str) -> None:
        while (wait := self._not_before.get(host, 0.0) - self._loop.time()) > 0:
            await asyncio.sleep(wait)

    def _refuse_given_up(self, host: str, url: str) -> None:
        """Refuse what nobody answers: a shop's whole feed at a host that is down would take hours."""
        if self._given_up_until.get(host, 0.0) > self._loop.time():
            raise UnavailableError(url, f"given up, since {host} left {_GIVE_UP_AFTER} requests unanswered")

    def _note_answer(self, host: str, is_silent: bool) -> None:
        self._silent[host] = self._silent.get(host, 0) + 1 if is_silent else 0
        if self._silent[host] >= _GIVE_UP_AFTER:
            self._silent[host] = 0
            self._given_up_until[host] = self._loop.time() + _GIVE_UP_S

    async def _attempt(self, download: _Download, host: str) -> Fetched:
        try:
            async with asyncio.timeout(download.timeout_s):
                fetched = await self._request(download)
        except TimeoutError:
            self._note_answer(host, is_silent=True)
            error = UnavailableError(download.url, f"no answer within {download.timeout_s:g} s")
            raise _RetryError(error, attempts=2, is_silent=True) from None
        except _RetryError as failed:
            self._note_answer(host, is_silent=failed.is_silent)
            raise
        self._note_answer(host, is_silent=False)
        return fetched

    async def _request(self, download: _Download) -> Fetched:
        import httpx2

        url = download.url
        hop = _Hop(host_of(url))
        _hop.set(hop)
        try:
            async with self._opened().stream("GET", url, headers=_conditions(download.known)) as answer:
                if answer.status_code == 304:
                    return Fetched(None, download.known)
                _refuse_status(url, answer.status_code, answer.headers)
                data = await _content(answer, url, download.limit)
                return Fetched(data, _validators(answer.headers), answer.headers.get("content-type", ""))
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise InvalidInputError(url, f"not an address ({_said(error)})") from None
        except httpx2.TooManyRedirects:
            raise UnavailableError(url, "it redirects without an end") from None
        except httpx2.ConnectError as error:
            if hop.refused:
                raise hop.refusal(url) from None
            raise _unreachable(url, error) from None
        except (OverflowError, UnicodeError) as error:  # where a redirect leads
            raise UnavailableError(url, f"leads to no address ({_said(error)})") from None
        except httpx2.HTTPError as error:
            problem = f"the connection was lost ({_said(error)})"
            raise _RetryError(UnavailableError(url, problem)) from None

    def _opened(self) -> httpx2.AsyncClient:
        import httpx2

        if self._client is None:
            limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
            headers = {"User-Agent": _AGENT, "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "gzip"}
            try:
                self._client = httpx2.AsyncClient(
                    headers=headers,
                    limits=limits,
                    timeout=None,
                    follow_redirects=True,
                    max_redirects=_REDIRECTS,
                    event_hooks={"request": [_go_on]},
                )
            except (ImportError, ValueError) as error:
                problem = f"the proxy of the environment cannot be used ({_said(error)})"
                raise UnavailableError(
                    "downloads", problem, "unset it, or name the hosts in NO_PROXY"
                ) from None
        return self._client


def _conditions(known: Mapping[str, str]) -> dict[str, str]:
    names = {"etag": "If-None-Match", "modified": "If-Modified-Since"}
    return {names[name]: value for name, value in known.items() if name in names}


def _validators(headers: Mapping[str, str]) -> dict[str, str]:
    given = {"etag": headers.get("etag", ""), "modified": headers.get("last-modified", "")}
    return {name: value for name, value in given.items() if value and len(value) <= 256}


async def _content(answer: httpx2.Response, url: str, limit: int) -> bytes:
    """Receive a body; of one that is compressed, no more than the limit is ever unpacked."""
    parts: list[bytes] = []
    size = 0
    packing = answer.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip"):
        raise UnavailableError(url, f"sent compressed in a way that was not asked for ({packing[:20]})")
    unpacking = None if packing == "identity" else zlib.decompressobj(_GZIP)
    async for part in answer.aiter_raw():
        try:
            data = part if unpacking is None else unpacking.decompress(part, limit - size + 1)
        except zlib.error:
            raise UnavailableError(url, "its compressed content is damaged") from None
        parts.append(data)
        size += len(data)
        if size > limit:
            raise InvalidInputError(url, f"over the limit of {limit // 2**20} MiB")
    if unpacking is not None and not unpacking.eof:
        raise _RetryError(
            UnavailableError(url, "the connection was lost (its compressed content ends early)")
        )
    return b"".join(parts)


def _refuse_status(url: str, status: int, headers: Mapping[str, str]) -> None:
    if status < 300:
        return
    said = f"(HTTP {status})"
    if status in (404, 410):
        raise NotFoundError(url, f"no such file {said}")
    if status in (401, 403, 407):
        raise UnavailableError(url, f"the server does not let us in {said}")
    problem = f"the server answers with {said[1:-1]}"
    if status == 429:
        problem = f"the server wants fewer requests {said}"
    elif status >= 500:
        problem = f"the server failed {said}"
    error = UnavailableError(url, problem)
    if status in _AGAIN:
        raise _RetryError(error, _retry_after(headers))
    raise error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: as a number or a date."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal():
        return float(said[:9])
    with contextlib.suppress(ValueError, TypeError):
        from datetime import UTC, datetime

        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    return None


def _unreachable(url: str, error: Exception) -> Exception:
    """Tell a name that does not exist and a certificate that does not hold from a connection that failed."""
    said = _said(error)
    cause: BaseException | None = error
    while cause is not None:
        name = type(cause).__name__
        if name == "gaierror":
            return UnavailableError(url, f"no such host ({said})")
        if name.startswith("SSL"):
            return UnavailableError(url, f"its certificate cannot be trusted ({said})")
        cause = cause.__cause__ or cause.__context__
    return _RetryError(UnavailableError(url, f"no connection ({said})"), is_silent=True)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
