"""Images on their way, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable

import numpy as np
from fastapi.responses import Response
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from rediffuse.data.png import encode_png
from rediffuse.serving.api.drawing import ClientLeftError, drawn
from rediffuse.serving.api.errors import RefusedError, log_bug
from rediffuse.serving.api.schemas import Progressed, Queued
from rediffuse.serving.batching import Progress, Ticket

EVENTS = "text/event-stream"
_QUIET = 15.0  # seconds until a comment keeps the connection open, where nothing happens
_ROUTE = "/v1/images"


class EventStream(Response):
    """The events `queued`, `step` and then `done` or `error`; the ticket is cancelled however it ends.

    The ticket is asked for before the first byte, so that a full queue is still an answer with a status of its own.

    Args:
        submit: told where progress goes, asks for the images; RefusedError.
        queued: data of the first event.
        done: data of the last one, from the images.
        seconds: until the last one, at most.
    """

    def __init__(
        self,
        submit: Callable[[Callable[[Progress], None]], Ticket],
        *,
        queued: Queued,
        done: Callable[[list[np.ndarray]], str],
        seconds: float,
    ) -> None:
        # Proxies must not gather what is for now.
        super().__init__(headers={"X-Accel-Buffering": "no"}, media_type=EVENTS)
        del self.headers["content-length"]
        self._queued, self._done, self._seconds = queued, done, seconds
        self._steps: asyncio.Queue[Progress | None] = asyncio.Queue()
        self._ticket = submit(self._seen(asyncio.get_running_loop()))

    def _seen(self, loop: asyncio.AbstractEventLoop) -> Callable[[Progress], None]:
        def seen(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._steps.put_nowait, progress)

        return seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send them, until the last one or until the client leaves."""
        drawing = asyncio.ensure_future(drawn(self._ticket, receive, self._seconds))
        drawing.add_done_callback(lambda _: self._steps.put_nowait(None))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for content in self._events(drawing):
                await send({"type": "http.response.body", "body": content, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._ticket.cancel()
            drawing.cancel()

    async def _events(self, drawing: "asyncio.Future[list[np.ndarray]]") -> AsyncIterator[bytes]:
        yield _event("queued", self._queued.model_dump_json())
        while True:
            try:
                progress = await asyncio.wait_for(self._steps.get(), _QUIET)
            except TimeoutError:
                yield b": still there\n\n"
                continue
            if progress is None:
                break
            yield _event("step", await run_in_threadpool(_step, progress))
        try:
            yield _event("done", await run_in_threadpool(self._done, drawing.result()))
        except ClientLeftError:
            return
        except RefusedError as error:
            yield _event("error", _refusal(error.status, error.message, error.field, error.allowed))
        except Exception as error:
            yield _event("error", _refusal(500, log_bug(error, _ROUTE)))


def _refusal(status: int, message: str, field: str | None = None, allowed: str | None = None) -> str:
    return json.dumps({"status": status, "error": {"field": field, "message": message, "allowed": allowed}})


def _event(name: str, data: str) -> bytes:
    return format_sse_event(event=name, data_str=data)


def _step(progress: Progress) -> str:
    pictures = [base64.b64encode(plain_png(picture)).decode("ascii") for picture in progress.images]
    return Progressed(done=progress.done, of=progress.of, level=progress.level, images=pictures).model_dump_json()


def plain_png(picture: np.ndarray) -> bytes:
    """An image, C×H×W, uint8, without a record: it is none that could be drawn again."""
    return encode_png(np.ascontiguousarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)))
