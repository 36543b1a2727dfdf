"""Waiting for images, as long as somebody waits for them."""

import asyncio
from collections.abc import Callable

import numpy as np
from starlette.types import Receive

from rediffuse.serving.api.errors import RefusedError
from rediffuse.serving.batching import BusyError, ClosedError, PatienceError, Ticket

ENDING = 5.0  # seconds until another server may stand here


class ClientLeftError(Exception):
    """Nobody reads the answer any more."""


async def left(receive: Receive) -> None:
    """Wait until the client leaves; the body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drawn(ticket: Ticket, receive: Receive, seconds: float) -> list[np.ndarray]:
    """The ticket's images. Whatever else happens, the ticket is cancelled.

    Raises:
        ClientLeftError: the client left.
        RefusedError: 503, not in time.
    """
    waiting, leaving = asyncio.ensure_future(ticket.wait()), asyncio.ensure_future(left(receive))
    try:
        await asyncio.wait({waiting, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        if leaving.done():
            raise ClientLeftError
        raise RefusedError(503, f"not drawn within {seconds:g} s", retry_after=seconds)
    except (PatienceError, ClosedError) as error:
        raise refused(error) from None
    finally:
        ticket.cancel()
        for task in (waiting, leaving):
            task.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)


def refused(error: BusyError | PatienceError | ClosedError) -> RefusedError:
    """What the queue's own errors are to a client."""
    if isinstance(error, BusyError):
        return RefusedError(429, str(error), field="count", retry_after=error.retry_after)
    if isinstance(error, PatienceError):
        return RefusedError(503, f"not drawn in time: {error}", retry_after=ENDING)
    return RefusedError(503, "the server is ending", retry_after=ENDING)


def submitted(submit: Callable[[], Ticket]) -> Ticket:
    """The ticket.

    Raises:
        RefusedError: 429 where too many wait, 503 where the server ends.
    """
    try:
        return submit()
    except (BusyError, ClosedError) as error:
        raise refused(error) from None
