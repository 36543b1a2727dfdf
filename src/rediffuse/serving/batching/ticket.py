"""What somebody who asks for images holds while they are drawn."""

import asyncio
import math
import weakref
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from rediffuse.serving.answers import Answers, Moment
from rediffuse.serving.wanted import Wanted


class BusyError(Exception):
    """Too many images wait already.

    Args:
        waiting: so many.
        retry_after: seconds after which there may be room, by how quickly images were drawn so far.
    """

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} images wait already; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class PatienceError(Exception):
    """The time within which drawing had to begin is over."""


class ClosedError(Exception):
    """The server stops, and draws no more."""


@dataclass(frozen=True)
class Progress:
    """How far the images of one ticket are.

    Args:
        done: steps, of the `of` that each image takes: the mean over the ticket's images, rounded down.
        level: noise-to-signal ratio of those that are drawn just now.
        images: all of the ticket's, in its order, C×H×W, uint8; those that are not begun yet are black, so that a page
            can show a cell for each from the beginning.
    """

    done: int
    of: int
    level: float
    images: list[np.ndarray]


class Ticket:
    """Some images that were asked for, drawn now or later.

    Args:
        answers: the model that draws them, whatever is served meanwhile.
        wanted: the images.
        seen: told of them `frames` times on the way, from the thread that draws; what it raises ends the ticket.
        frames: at most, spread as the film of the stage `sample`: evenly in the angle atan(noise-to-signal), the noise
            and the result among them. Where the images take several batches, they share the frames.
        late: the moment, on the batcher's clock, until which drawing must have begun.
        background: drawn only where nobody else waits.
    """

    def __init__(
        self,
        answers: Answers,
        wanted: Sequence[Wanted],
        *,
        seen: Callable[[Progress], None] | None,
        frames: int,
        late: float,
        background: bool,
    ) -> None:
        self.answers, self.late, self.background = answers, late, background
        self.wanted = tuple(wanted)
        self.kinds: tuple[Hashable, ...] = tuple(answers.kind(each) for each in self.wanted)
        self.waiting = list(range(len(self.wanted)))  # the places of images that are not begun, in order
        self.begun = False
        self._seen, self._frames, self._shown = seen, frames, 0
        self._drawn: dict[int, np.ndarray] = {}
        self._future: Future[list[np.ndarray]] = Future()
        self._angle = 0.0
        if not self.wanted:
            self._future.set_result([])

    def cancel(self) -> None:
        """Draw what is missing no more; nothing, where it is done."""
        self._future.cancel()

    def done(self) -> bool:
        """Whether there is a result, an error, or nobody who waits."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> list[np.ndarray]:
        """The images, C×H×W, uint8, in the order in which they were asked for.

        Args:
            timeout: seconds; None: until they are there.

        Raises:
            TimeoutError: they are not there yet; they are still drawn.
            concurrent.futures.CancelledError: they were cancelled.
            PatienceError, ClosedError: they were not drawn.
            Exception: what drawing raised.
        """
        return self._future.result(timeout)

    async def wait(self) -> list[np.ndarray]:
        """As `result`, for asyncio. To cancel who waits here cancels the ticket: a client that leaves takes its images
        along.
        """
        return await asyncio.wrap_future(self._future)

    def when_done(self, told: Callable[["Ticket"], None]) -> None:
        """Call this once it is done, from whatever thread ends it; at once, where it is.

        Args:
            told: gets the ticket, and holds it not: done, it is gone with the last who asks for it, and its images.
        """
        alive = weakref.ref(self)

        def tell(_: object) -> None:
            if ticket := alive():
                told(ticket)

        self._future.add_done_callback(tell)

    # What follows is the drawing thread's.

    def begin(self, places: Sequence[int]) -> None:
        """These images wait no more."""
        taken = set(places)
        self.begun = True
        self.waiting = [place for place in self.waiting if place not in taken]

    def fail(self, error: Exception) -> None:
        """End with this error, unless it is done."""
        with suppress(InvalidStateError):
            self._future.set_exception(error)

    def show(self, moment: Moment, places: Sequence[int], pictures: Callable[[], np.ndarray]) -> None:
        """Tell of a moment on the way, where a frame is due.

        Args:
            places: of this ticket's images in the batch.
            pictures: of these, as they stand.
        """
        angle = math.atan(moment.level)
        if moment.done == 0:
            self._angle = angle
        way = 1 - angle / self._angle if self._angle else moment.done / max(moment.of, 1)
        if moment.done < moment.of and self._is_due(way, len(places)):
            self._tell(moment, dict(zip(places, pictures(), strict=True)))

    def take(self, moment: Moment, places: Sequence[int], pictures: np.ndarray) -> None:
        """Keep images that are drawn, tell of them where a frame is due, and end where they are the last.

        Args:
            moment: the last one of the batch.
        """
        # A copy: a view would keep the images of all others in the batch as long as this one.
        self._drawn |= {place: picture.copy() for place, picture in zip(places, pictures, strict=True)}
        if self._is_due(0.0, 0):
            self._tell(moment, {})
        if len(self._drawn) == len(self.wanted):
            with suppress(InvalidStateError):
                self._future.set_result([self._drawn[place] for place in range(len(self.wanted))])

    def _is_due(self, way: float, count: int) -> bool:
        """Whether the next frame is reached, where `count` images have gone this share of their way, others all or
        nothing; one place may reach several.
        """
        if self._seen is None or self.done():
            return False
        gone = (len(self._drawn) + way * count) / len(self.wanted)
        before = self._shown
        # A last bit of rounding decides nothing.
        while self._shown < self._frames and self._shown <= gone * (self._frames - 1) + 1e-9:
            self._shown += 1
        return self._shown > before

    def _tell(self, moment: Moment, now: dict[int, np.ndarray]) -> None:
        assert self._seen is not None
        black = np.zeros(self.answers.shape, np.uint8)
        known = self._drawn | now
        steps = len(self._drawn) * moment.of + len(now) * moment.done
        images = [known.get(place, black) for place in range(len(self.wanted))]
        try:
            self._seen(Progress(steps // len(self.wanted), moment.of, moment.level, images))
        except Exception as error:
            self.fail(error)
