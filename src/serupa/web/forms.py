"""Reads multipart forms into memory, within limits: an uploaded photo never touches the disk."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serupa.web.problems import ProblemError, refused

_Form = TypeVar("_Form", bound=BaseModel)

_REPEATED = {"where"}
_FIELDS = 100


class _InMemory(MultiPartParser):
    spool_max_size = sys.maxsize  # never a temporary file; how large a request may be is limited elsewhere


async def read_form(request: Request, model: type[_Form]) -> _Form:
    """Read a request's form.

    Raises
    ------
    ProblemError
        415 if it is no multipart form, 400 if it is a broken one.
    RequestValidationError
        If a field is missing, unknown or not what it should be.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise ProblemError(415, f"send multipart/form-data, not {kind or 'nothing'}; curl -F does")
    parser = _InMemory(request.headers, request.stream(), max_files=1, max_fields=_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ProblemError(400, f"the form cannot be read: {error.message}") from None
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        content = await value.read() if isinstance(value, UploadFile) else value
        if name in _REPEATED:
            values.setdefault(name, []).append(content)
        elif name in values:
            raise refused(name, "given more than once")
        else:
            values[name] = content
    await form.close()
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None


def form_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return how OpenAPI describes a route's form."""
    schema = model.model_json_schema()
    for field in schema["properties"].values():
        # a form has no null: what is optional is left out
        kinds = [kind for kind in field.pop("anyOf", ()) if kind != {"type": "null"}]
        if kinds:
            (kind,) = kinds
            field.update(kind)
            field.pop("default", None)
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
