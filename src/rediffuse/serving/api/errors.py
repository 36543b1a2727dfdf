"""Each error as one object: which field, what was found, what is allowed."""

import json
import logging
import math
import secrets
import sys
import traceback
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rediffuse.errors import UserError
from rediffuse.serving.request import ALLOWED, shown
from rediffuse.serving.request import refusal as named
from rediffuse.serving.wanted import NotAllowedError

LOG = logging.getLogger("rediffuse.serving")


class Refusal(BaseModel):
    """Why there is no answer."""

    field: str | None = Field(description="of the request, that stands in the way")
    message: str = Field(description="what was found")
    allowed: str | None = Field(description="what is allowed, where the message does not say it")


class ErrorAnswer(BaseModel):
    """The body of every answer but those that are asked for."""

    error: Refusal


class RefusedError(Exception):
    """A request that is answered with a status of its own.

    Args:
        status: of HTTP.
        message: one line.
        field: of the request.
        allowed: what is, where the message does not say it.
        retry_after: seconds after which it may be tried again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        allowed: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.allowed = status, message, field, allowed
        self.retry_after = retry_after

    def response(self) -> Response:
        """The answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}
        return refusal(self.status, self.message, field=self.field, allowed=self.allowed, headers=headers)


def refusal(
    status: int,
    message: str,
    *,
    field: str | None = None,
    allowed: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error as an answer. What a client sent may stand in it, and need not be text: it is written as ASCII."""
    content = json.dumps({"error": {"field": field, "message": message, "allowed": allowed}}, allow_nan=False)
    return Response(content, status, headers, media_type="application/json")


_MEANINGS = {
    400: "The body can't be read.",
    401: "The token is missing, or is another one.",
    404: "There is no such thing here.",
    406: "The header Accept asks for what this request can't be answered with.",
    413: "The body is too long.",
    415: "The header Content-Type names what is not taken here.",
    421: "The header Host names another server.",
    422: "A field is not what is allowed.",
    429: "Too many images wait; try again after the seconds of Retry-After.",
    500: "A bug. Its id, in the message, stands in the server's log, too.",
    503: "Not now: not drawn in time, no room, a store that is away, or an end; try again after Retry-After seconds.",
}
_WAIT = {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer", "minimum": 1}}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these errors, and of those that any route may give."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 401, 421, 500}):
        described[status] = {"model": ErrorAnswer, "description": _MEANINGS[status]}
        if status in (429, 503):
            described[status]["headers"] = _WAIT
    return described


_ALLOWED = {
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "int_parsing": "a whole number",
    "string_too_long": "at most {max_length} characters",
    "missing": "a value",
}
_NO_OBJECT = ("missing", "model_attributes_type", "model_type", "dict_type")


def invalid(error: dict[str, Any]) -> Response:
    """The answer to the first thing that validation found wrong."""
    place, kind = [part for part in error["loc"] if part not in ("body", "query", "path")], error["type"]
    if kind == "json_invalid":
        return refusal(400, f"the body is no JSON: {error['ctx']['error']}", field="body")
    if not place and kind in _NO_OBJECT:
        return refusal(422, "the body is no JSON object", field="body", allowed="a JSON object")
    field = ".".join(map(str, place))
    if kind == "extra_forbidden":
        message = f"{shown(field)} is no field of this request"
        return refusal(422, message, field=field, allowed="those of /openapi.json")
    if place[-1:] and place[-1] in ALLOWED and error["loc"][0] != "query" and kind != "missing":
        # Of an image's request, or of one row of many.
        return refusal(422, str(named(place[-1:], kind, error["input"])), field=field, allowed=ALLOWED[place[-1]])
    # What was sent is not repeated: it may be NaN, which is no JSON, and as long as it likes.
    allowed = _ALLOWED[kind].format_map(error.get("ctx", {})) if kind in _ALLOWED else None
    return refusal(422, f"{field or 'body'}: {error['msg']}", field=field or "body", allowed=allowed)


def install(app: FastAPI) -> None:
    """Answer this app's errors."""

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> Response:
        return invalid(error.errors()[0])

    @app.exception_handler(NotAllowedError)
    async def _(_: Request, error: NotAllowedError) -> Response:
        return refusal(422, str(error), field=error.field)

    @app.exception_handler(RefusedError)
    async def _(_: Request, error: RefusedError) -> Response:
        return error.response()

    @app.exception_handler(UserError)
    async def _(_: Request, error: UserError) -> Response:
        # A version of the registry that can't be loaded: nothing that another request would change.
        return refusal(422, " ".join(str(error).split()), field="model")

    @app.exception_handler(HTTPException)
    async def _(_: Request, error: HTTPException) -> Response:
        status = error.status_code
        message, field = _PLAIN.get(status, (str(error.detail), None))
        return refusal(status, message, field=field, headers=dict(error.headers or {}))


_PLAIN = {
    400: ("the body can't be read", "body"),
    404: ("there is nothing here", None),
    405: ("this path does not take this method", None),
    413: ("the body is too long; GET /v1/model says what is allowed", "body"),
}


class Bugs:
    """Whatever else is raised: an answer with an id, and a line with the same id and where it was, in the log.

    Neither what the request said nor an exception's own text is logged, for that may quote it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the app, which raises nothing any more."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            said = log_bug(error, getattr(scope.get("route"), "path", "no route"))
            if not started:
                await refusal(500, said)(scope, receive, send)


def log_bug(error: BaseException, where: str) -> str:
    """Log an exception that nobody expected; what the client is told."""
    known = secrets.token_hex(8)
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < 5:
        frames = "".join(traceback.format_tb(cause.__traceback__))
        chain.append(f"{type(cause).__module__}.{type(cause).__qualname__}\n{frames}")
        cause = cause.__cause__ or cause.__context__
    LOG.error("bug %s at %s: %s", known, where, "caused by ".join(chain))
    sys.stderr.flush()
    return f"this is a bug of the server's; its log tells more under {known}"
