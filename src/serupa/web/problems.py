"""Every error of the API as ``application/problem+json`` (RFC 9457), with nothing of the machine in it.

An error says what it is about apart from what is wrong (`serupa.errors`): paths and addresses are never sent.
Of the server's own faults no more is sent than that there is one; the log says which.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from serupa.errors import NotFoundError, SerupaError

MEDIA_TYPE = "application/problem+json"

errors = logging.getLogger("serupa.error")

_CODES = {
    400: "bad-request",
    401: "key-needed",
    403: "not-allowed",
    404: "not-found",
    405: "method",
    408: "too-slow",
    409: "conflict",
    413: "too-large",
    415: "media-type",
    421: "host",
    422: "invalid",
    429: "busy",
    500: "server",
    503: "unavailable",
}

_PLACES = ("query", "path", "body", "header")


class ProblemError(Exception):
    """An answer that is an error.

    Parameters
    ----------
    status : int
        The HTTP status.
    detail : str
        One sentence for people: what is wrong and what to do.
    code : str, optional
        One word for programs; that of the status unless given.
    headers : mapping, optional
        More headers of the answer; several of one name as a tuple.
    errors : iterable of mapping, optional
        What is wrong with which field.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str | tuple[str, ...]] | None = None,
        errors: Iterable[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or _CODES.get(status, "error")
        self.headers = dict(headers or {})
        self.errors = [dict(error) for error in errors]

    def body(self) -> dict[str, Any]:
        """Return the JSON object."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        return body | {"errors": self.errors} if self.errors else body

    def response(self) -> Response:
        """Return the answer."""
        response = JSONResponse(self.body(), self.status, media_type=MEDIA_TYPE)
        for name, value in self.headers.items():
            for one in (value,) if isinstance(value, str) else value:
                response.headers.append(name, one)
        return response


def refused(field: str, message: str) -> ProblemError:
    """Return the problem that a field of a request is not what it should be."""
    return ProblemError(422, f"{field}: {message}", errors=[{"field": field, "message": message}])


def busy(detail: str, *, retry_after_s: int = 1, code: str | None = None) -> ProblemError:
    """Return the problem that there is too much at once: 429, with when to try again."""
    return ProblemError(429, detail, code=code, headers={"Retry-After": str(retry_after_s)})


def unavailable(detail: str, *, retry_after_s: int = 5, code: str | None = None) -> ProblemError:
    """Return the problem that there is no answer now: 503, with when to try again."""
    return ProblemError(503, detail, code=code, headers={"Retry-After": str(retry_after_s)})


def key_needed() -> ProblemError:
    """Return the problem that reading needs a key.

    A browser asks for the key on seeing Basic, so that the pages work with a key too; it wants a header for
    each of the two.
    """
    return ProblemError(
        401,
        "this server asks for a key: send it as Authorization: Bearer KEY or X-API-Key: KEY",
        headers={"WWW-Authenticate": ('Basic realm="Serupa: the key is the password"', "Bearer")},
    )


def photo_problem(error: SerupaError) -> ProblemError:
    """Return the problem that a photo which was sent cannot be used, whatever the cause."""
    return ProblemError(422, f"the photo: {_told(error.problem, error.hint)}", code="photo")


def problem_of(error: Exception) -> ProblemError:
    """Return the problem that an error is told as."""
    match error:
        case ProblemError():
            return error
        case HTTPException():
            return ProblemError(error.status_code, _http_detail(error), headers=error.headers)
        case RequestValidationError():
            return _invalid(error)
        case SerupaError() if error.http_status < 500:
            code = "item-not-found" if isinstance(error, NotFoundError) else None
            return ProblemError(error.http_status, public_text(error), code=code)
        case SerupaError() if error.http_status == 503:
            return unavailable("the catalogue cannot do this now; the server's log says why", code="store")
        case _:
            return ProblemError(500, "the server failed on this request; its log says why")


def public_text(error: SerupaError) -> str:
    """Return what an error says, without the path or address that it is about."""
    if isinstance(error.subject, str) and "://" not in error.subject:
        subject = error.subject
        text = _told(error.problem, error.hint)
        return f"{subject}: {text}" if error.problem else subject
    hint = "" if str(error.subject) in error.hint else error.hint
    return _told(error.problem, hint)


def log_text(error: SerupaError) -> str:
    """Return what the log says of an error: of an address, no name, password or query."""
    subject = str(error.subject)
    if "://" in subject:
        scheme, _, rest = subject.partition("://")
        host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
        subject = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return str(SerupaError(subject, error.problem, error.hint))


def last_name(place: str) -> str:
    """Return the last part of a path or an address, without what an address says behind it."""
    return PurePath(place.partition("?")[0].partition("#")[0].rstrip("/")).name


def _told(problem: str, hint: str) -> str:
    return f"{problem}; {hint}" if hint else problem


def _http_detail(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "there is nothing at this address; see /docs"
        case 405:
            return f"this address takes {(error.headers or {}).get('Allow', 'other methods')}; see /docs"
        case _:
            return str(error.detail)


def _invalid(error: RequestValidationError) -> ProblemError:
    fields = [
        {
            "field": ".".join(str(part) for part in one["loc"] if part not in _PLACES),
            "message": str(one["msg"]),
        }
        for one in error.errors()
    ]
    detail = "; ".join(": ".join(filter(None, one.values())) for one in fields)
    return ProblemError(422, detail, errors=fields)


def answer_problems(app: FastAPI, missing_page: Callable[[Request], Response | None]) -> None:
    """Make an app answer all its errors as problems, and an address where there is nothing with a page."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            error = HTTPException(405, headers={"Allow": _methods(app, request)})
        if isinstance(error, HTTPException) and error.status_code == 404:
            page = missing_page(request)
            if page is not None:
                return page
        if isinstance(error, SerupaError) and error.http_status >= 500:
            errors.error("request failed: %s %s: %s", request.method, request.scope["path"], log_text(error))
        return problem_of(error).response()

    for kind in (ProblemError, HTTPException, RequestValidationError, SerupaError):
        app.add_exception_handler(kind, answer)


def _methods(app: FastAPI, request: Request) -> str:
    """Return every method of an address; the router names only those of the first route that has it."""
    route = getattr(request.scope.get("route"), "path", "").replace(":path", "")
    methods = [method.upper() for method in app.openapi()["paths"].get(route, ())]
    return ", ".join(sorted(methods)) or "GET"
