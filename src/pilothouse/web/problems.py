"""Every refusal as `application/problem+json`, with the one table from errors to statuses.

`title` is the name of the error's class, by which a client raises the same error again; `fix` tells what mends it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pilothouse.errors import (
    ArtifactDamaged,
    BadValue,
    Conflict,
    NotAuthenticated,
    NotFound,
    OperationFailed,
    PilothouseError,
    PreconditionFailed,
    PreconditionMissing,
    Refused,
    StillPending,
    TooLarge,
    TooManyRequests,
    Unreachable,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
DETAIL_MAX = 500
FIELDS_MAX = 20
FIX_FIELDS = "mend the fields named in `errors`; GET /openapi.json tells their forms"

STATUSES: Mapping[type[PilothouseError], HTTPStatus] = {
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    PreconditionMissing: HTTPStatus.PRECONDITION_REQUIRED,
    UsageError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    Refused: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    Conflict: HTTPStatus.CONFLICT,
    StillPending: HTTPStatus.TOO_EARLY,
    ArtifactDamaged: HTTPStatus.CONFLICT,
    Unreachable: HTTPStatus.SERVICE_UNAVAILABLE,
    OperationFailed: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The first family that an error belongs to counts."""

_ROUTING: Mapping[int, tuple[type[PilothouseError], str]] = {
    400: (BadValue, "send a body of well-formed JSON in UTF-8"),
    404: (NotFound, "GET /openapi.json tells every route"),
    405: (UsageError, "GET /openapi.json tells the methods of every route"),
    415: (BadValue, "send the body with the content type that the route names"),
}

_log = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """One field that was refused, and why."""

    model_config = ConfigDict(extra="forbid")

    at: str
    detail: str


class Problem(BaseModel):
    """What was refused, and what mends it."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    fix: str
    errors: list[FieldProblem] | None = None


def status_of(error: PilothouseError) -> HTTPStatus:
    """Return the status of the error's family."""
    return next(status for family, status in STATUSES.items() if isinstance(error, family))


def as_problem(error: PilothouseError, *, status: int | None = None) -> Problem:
    """Return the error as a problem. A title is a name that clients know, so one of ours here tells its family's."""
    own = type(error)
    name = "BadValue" if isinstance(error, Malformed | Invalid) else own.__name__
    return Problem(
        type=f"urn:pilothouse:error:{_hyphenated(name)}",
        title=name,
        status=status or (error.status if isinstance(error, Malformed) else status_of(error)),
        detail=error.message,
        fix=error.fix,
        errors=list(error.fields) if isinstance(error, Invalid) else None,
    )


def answer(error: PilothouseError, *, status: int | None = None) -> Response:
    """Return the error as an answer."""
    problem = as_problem(error, status=status)
    headers: dict[str, str] = {}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="pilothouse"'
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_seconds)
    body = to_json(problem, exclude_none=True)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer, as OpenAPI tells them; those that any route may are added."""
    shown = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    always = (400, 401, 403, 413, 421, 422, 429, 500, 503)
    return {status: {"description": HTTPStatus(status).phrase, **shown} for status in sorted({*always, *statuses})}


class Malformed(BadValue):
    """What is not even of the form that could be judged; it has a status of its own."""

    def __init__(self, message: str, *, fix: str, status: int) -> None:
        super().__init__(message, fix=fix)
        self.status = status


class Invalid(BadValue):
    """A body whose fields are not as the route wants them, with each field that is wrong."""

    def __init__(self, message: str, *, fix: str, fields: Sequence[FieldProblem]) -> None:
        super().__init__(message, fix=fix)
        self.fields = fields


def invalid(error: ValidationError, *, where: str) -> BadValue:
    """Return the complaint about a body, or part of a request, that broke its model."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Malformed(f"the {where} is not JSON: {found[0]['msg']}", fix=_ROUTING[400][1], status=400)
    return _invalid_fields([(_place((where, *each["loc"])), each["msg"]) for each in found])


def add_problems(app: FastAPI) -> None:
    """Let every error of the app, foreseen or not, be answered as a problem."""
    app.add_exception_handler(PilothouseError, _own_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unforeseen)


def unforeseen(error: Exception) -> Response:
    """Return the answer to a bug: it tells nothing of the inside."""
    _log.exception("A request failed.", exc_info=error, extra={"action": "request_failed"})
    failure = OperationFailed("the server failed on this request", fix="look at the server's log, and report it")
    return answer(failure, status=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _own_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, PilothouseError), f"not one of ours: {error!r}"
    return answer(error)


async def _invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError), f"no error of validation: {error!r}"
    return answer(_invalid_fields([(_place(each["loc"]), each["msg"]) for each in error.errors()]))


def _invalid_fields(found: Sequence[tuple[str, str]]) -> Invalid:
    fields = [FieldProblem(at=at, detail=detail) for at, detail in found[:FIELDS_MAX]]
    told = "; ".join(f"{field.at}: {field.detail}" for field in fields)[:DETAIL_MAX]
    return Invalid(f"the request is not as the route wants it: {told}", fix=FIX_FIELDS, fields=fields)


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), f"no error of routing: {error!r}"
    family, fix = _ROUTING.get(error.status_code, (UsageError, "see /openapi.json"))
    what = f"{request.method} {request.scope['path']}"[:DETAIL_MAX]
    told = answer(family(f"{what}: {error.detail}", fix=fix), status=error.status_code)
    for name, value in (error.headers or {}).items():
        told.headers[name] = value
    return told


async def _unforeseen(request: Request, error: Exception) -> Response:
    del request
    return unforeseen(error)


def _place(location: Sequence[object]) -> str:
    return ".".join(str(part) for part in location)


def _hyphenated(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
