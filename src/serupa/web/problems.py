"""Every error of the API as ``application/problem+json`` (RFC 9457), with nothing of the machine in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from serupa.errors import (
    InvalidInputError,
    NotFoundError,
    SerupaError,
    StoreError,
    StoreUnavailableError,
)

MEDIA_TYPE = "application/problem+json"

_CODES = {
    400: "bad-request",
    401: "key-needed",
    403: "not-allowed",
    404: "not-found",
    405: "method",
    408: "too-slow",
    413: "too-large",
    415: "media-type",
    422: "invalid",
    429: "busy",
    500: "server",
    503: "unavailable",
}

_PLACES = ("query", "path", "body", "header")

# What looks like an absolute path is cut down to its last part
_PATH = re.compile(r"(?<![\w.~%/:-])(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\",;]+)+(?=[/\\:'\",;\s]|$)")


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
        More headers of the answer.
    errors : iterable of mapping, optional
        What is wrong with which field.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
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
        return JSONResponse(self.body(), self.status, self.headers, MEDIA_TYPE)


def refused(field: str, message: str) -> ProblemError:
    """Return the problem that a field of a request is not what it should be."""
    return ProblemError(422, f"{field}: {message}", errors=[{"field": field, "message": message}])


def public_text(message: str, hidden: Iterable[str] = ()) -> str:
    """Return a message without paths of this machine.

    Parameters
    ----------
    message : str
        Such as an error's.
    hidden : iterable of str
        Paths that are known: ``"<path>: "`` at the start is left out, elsewhere only the name is kept.
    """
    for path in sorted(hidden, key=len, reverse=True):
        message = message.removeprefix(f"{path}: ").replace(path, re.split(r"[/\\]", path)[-1])
    return _PATH.sub(lambda match: re.split(r"[/\\]", match[0])[-1], message)


def problem_of(error: Exception, hidden: Iterable[str] = ()) -> ProblemError:
    """Return the problem that an error is told as."""
    match error:
        case ProblemError():
            return error
        case HTTPException():
            return ProblemError(error.status_code, _http_detail(error), headers=error.headers)
        case RequestValidationError():
            return _invalid(error)
        case StoreUnavailableError():
            detail = "the catalogue's server does not answer"
            return ProblemError(503, detail, code="store", headers={"Retry-After": "5"})
        case SerupaError():
            codes = {
                InvalidInputError: "photo",
                NotFoundError: "item-not-found",
                StoreError: "store",
            }
            status = 404 if isinstance(error, NotFoundError) else 422
            if isinstance(error, StoreError):  # a full disk is none of the client's doing
                status = 503
            return ProblemError(status, public_text(str(error), hidden), code=codes.get(type(error)))
        case _:
            return ProblemError(500, "the server failed on this request; its log says why")


def _http_detail(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "there is nothing at this address; see /docs"
        case 405:
            return f"this address takes {(error.headers or {}).get('Allow', 'other methods')}; see /docs"
        case _:
            return str(error.detail)


def _invalid(error: RequestValidationError) -> ProblemError:
    found = [
        {
            "field": ".".join(str(part) for part in one["loc"] if part not in _PLACES),
            "message": str(one["msg"]),
        }
        for one in error.errors()
    ]
    detail = "; ".join(": ".join(filter(None, one.values())) for one in found)
    return ProblemError(422, detail, errors=found)


def answer_problems(app: FastAPI, hidden: Iterable[str]) -> None:
    """Make an app answer all its errors as problems."""
    paths = tuple(hidden)

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            error = HTTPException(405, headers={"Allow": _methods(app, request)})
        return problem_of(error, paths).response()

    for kind in (ProblemError, HTTPException, RequestValidationError, SerupaError):
        app.add_exception_handler(kind, answer)


def _methods(app: FastAPI, request: Request) -> str:
    """Return every method of an address; the router names only those of the first route that has it."""
    route = getattr(request.scope.get("route"), "path", "").replace(":path", "")
    methods = [method.upper() for method in app.openapi()["paths"].get(route, ())]
    return ", ".join(sorted(methods)) or "GET"
