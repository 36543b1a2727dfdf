"""The page: the files of `serving/page/`, as they lie in the package, at `/` and below `/static/`."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

INDEX = "index.html"

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}

# Everything comes from this server; images are made in the page, from what the API answered.
POLICY = (
    "default-src 'self'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'"
)


@dataclass(frozen=True)
class Served:
    """A file of the page: its bytes, and the headers that they go with."""

    content: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, name: str, content: bytes) -> "Served":
        """The headers that this name and these bytes ask for; the tag is a function of the bytes."""
        headers = {
            "Content-Type": TYPES[name.rpartition(".")[2]],
            "Content-Security-Policy": POLICY,
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return cls(content, headers)

    def answer(self, request: Request) -> Response:
        """The file, or 304 where the browser has these bytes already."""
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
        if known & {self.headers["ETag"], "*"}:
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def page_files() -> dict[str, Served]:
    """The page's files by their names, read from the package."""
    folder = files("rediffuse.serving") / "page"
    served = (file for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES)
    return {file.name: Served.of(file.name, file.read_bytes()) for file in served}


def page_router() -> APIRouter:
    """`GET /` and `GET /static/{name}`; open to all, as they hold nothing of the model."""
    router = APIRouter(include_in_schema=False)
    known = page_files()

    @router.get("/")
    def index(request: Request) -> Response:
        return known[INDEX].answer(request)

    @router.get("/static/{name}")
    def static(name: str, request: Request) -> Response:
        if name not in known:
            raise HTTPException(404, f"no file {name!r} of the page")
        return known[name].answer(request)

    return router
