"""What stands before every route: the name by which the server was called, the token, the length of a body."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rediffuse.serving.api.errors import refusal

OPEN = ("/", "/healthz")
OPEN_BELOW = "/static/"


@dataclass(frozen=True)
class KnownHost:
    """Answers only who calls the server by one of its names.

    Else a page of any site could make its own name point at this machine (DNS rebinding), and read what it is answered.
    """

    app: ASGIApp
    hosts: tuple[str, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the app, or 421."""
        if scope["type"] == "http" and _name(Headers(scope=scope).get("host", "")) not in self.hosts:
            message = "the header Host names another server than this one, which has no token and is for this machine"
            refused = refusal(421, message, field="Host", allowed=", ".join(self.hosts))
            return await refused(scope, receive, send)
        await self.app(scope, receive, send)


def _name(host: str) -> str:
    """Without the port, and the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


@dataclass(frozen=True)
class KnownToken:
    """Answers only who shows the token, but for what tells nothing: the page's files, and whether the server lives."""

    app: ASGIApp
    token: bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the app, or 401."""
        if scope["type"] == "http" and not _is_open(scope["path"]):
            kind, _, shown = Headers(scope=scope).get("authorization", "").partition(" ")
            # In constant time: how long it takes tells nothing of how much was right. Headers are latin-1.
            known = hmac.compare_digest(shown.strip().encode("latin-1"), self.token)
            if kind.lower() != "bearer" or not known:
                refused = refusal(
                    401,
                    "this server wants its token",
                    field="Authorization",
                    allowed="Bearer TOKEN",
                    headers={"WWW-Authenticate": "Bearer"},
                )
                return await refused(scope, receive, send)
        await self.app(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


@dataclass(frozen=True)
class ShortBody:
    """Takes no body that is longer, whether it says so or streams.

    FastAPI's own `max_body_size` answers in plain text where a route has not read the body yet.
    """

    app: ASGIApp
    most: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the app, or 413."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        told = Headers(scope=scope).get("content-length", "0")
        if told.isdecimal() and int(told[:20]) > self.most:
            refused = refusal(413, f"the body has {told[:20]} bytes", field="body", allowed=f"{self.most} bytes")
            return await refused(scope, receive, send)
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                # FastAPI lets this one through, whoever reads the body.
                raise HTTPException(413)
            return message

        await self.app(scope, counted, send)


@dataclass(frozen=True)
class Plainly:
    """Says of every answer that it is what its type says, is for no other site to frame, and is not to be kept."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the app."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_missing(message["headers"])]
            await send(message)

        await self.app(scope, receive, told)


_SAID = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


def _missing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    return [(name, value) for name, value in _SAID if name not in there]
