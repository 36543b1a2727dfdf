"""The thread that draws."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache, partial
from typing import Protocol

import numpy as np

from rediffuse import runtime
from rediffuse.serving.answers import Answers, Moment
from rediffuse.serving.batching.line import Batch, Line
from rediffuse.serving.batching.ticket import BusyError, ClosedError, PatienceError, Progress, Ticket
from rediffuse.serving.wanted import Wanted

_LEAST, _MOST = 1.0, 60.0  # seconds that somebody is asked to stay away
_GATHER, _GATHER_MOST = 0.1, 0.05  # share of a batch's time, and seconds, that those who shared the last one may take


class Told(Protocol):
    """Where the batcher tells how it goes, for metrics. Called with no lock held; it must not raise."""

    def drawn(self, images: int, seconds: float) -> None:
        """A batch was drawn to its end, with so many images that were asked for."""

    def waiting(self, images: int) -> None:
        """So many images wait, those in the background included."""


class Batcher:
    """A queue of images, and one thread that draws them: those of one kind together, whoever asks, first come first
    served.

    Args:
        most_waiting: images that may wait, not counting those that are drawn; as many again in the background.
        told: hooks for metrics.
        clock: seconds, for patience.
    """

    def __init__(
        self, *, most_waiting: int, told: Told | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._told, self._clock = most_waiting, told, clock
        self._line = Line()
        self._changed = threading.Condition(threading.Lock())  # guards the line and what follows
        self._closed = False
        self._rate = 0.0  # images a second, of the last batches
        self._shared = 0  # images of the last batch, where several asked for them
        self._took = 0.0  # seconds of the last batch
        self._thread = threading.Thread(target=self._run, name="drawing", daemon=True)

    def start(self) -> None:
        """Begin to draw."""
        self._thread.start()

    def close(self) -> None:
        """Draw no more: the batch stops before its next step, who waits gets a `ClosedError`, and the thread ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._end_all()

    @property
    def alive(self) -> bool:
        """Whether what is asked for will be drawn: started, not closed, and not dead of a bug."""
        return self._thread.is_alive() and not self._closed

    @property
    def waiting(self) -> int:
        """Images that wait and are not begun, those in the background included."""
        with self._changed:
            return self._waiting()

    def submit(
        self,
        answers: Answers,
        wanted: Sequence[Wanted],
        *,
        seen: Callable[[Progress], None] | None = None,
        frames: int = 0,
        patience: float = 60.0,
        background: bool = False,
    ) -> Ticket:
        """Ask for images; never waits.

        Args:
            answers: the model, by which they were checked.
            seen: told of them on the way, from the drawing thread (which waits for it).
            frames: so often, at most; 0: never.
            patience: seconds within which drawing must have begun.
            background: draw them only where nobody else waits.

        Raises:
            BusyError: too many wait already.
            ValueError: more than may ever wait.
            ClosedError: after `close`.
        """
        if len(wanted) > self._most:
            raise ValueError(f"{len(wanted)} images; at most {self._most} may wait")
        late = self._clock() + patience
        ticket = Ticket(answers, wanted, seen=seen, frames=frames, late=late, background=background)
        if not ticket.wanted:
            return ticket
        with self._changed:
            if self._closed:
                raise ClosedError("the server stops")
            before = self._line.count(background=background)
            if (over := before + len(wanted) - self._most) > 0:
                raise BusyError(before, self._seconds(over))
            self._line.join(ticket)
            waiting = self._waiting()
            self._changed.notify_all()
        # Told also of a cancelled one, which leaves at once.
        ticket.when_done(self._forget)
        self._tell_waiting(waiting)
        return ticket

    def _seconds(self, images: int) -> float:
        """Until so many more are drawn."""
        return min(max(images / self._rate if self._rate else 0.0, _LEAST), _MOST)

    def _waiting(self) -> int:
        return self._line.count(background=False) + self._line.count(background=True)

    def _tell_waiting(self, images: int) -> None:
        if self._told:
            self._told.waiting(images)

    def _forget(self, ticket: Ticket) -> None:
        with self._changed:
            self._line.drop(ticket)
            waiting = self._waiting()
        self._tell_waiting(waiting)

    def _end_all(self) -> None:
        with self._changed:
            tickets = self._line.tickets()
        for ticket in tickets:
            ticket.fail(ClosedError("the server stops"))

    def _run(self) -> None:
        try:
            while self._draw_next():
                pass
        finally:
            # However the thread ends, nobody waits for it for ever.
            with self._changed:
                self._closed = True
            self._end_all()

    def _draw_next(self) -> bool:
        """Wait for a batch and draw it; False: there will be none. A function of its own, so that a thread that waits
        holds no images.
        """
        with self._changed:
            late = self._line.late(self._clock())
            if not late:
                self._gather()
            batch = None if late or self._closed else self._line.batch()
            if not (late or batch or self._closed):
                self._changed.wait()
            closed, waiting = self._closed, self._waiting()
        _fail_late(late)
        if batch:
            self._tell_waiting(waiting)
            self._draw(batch)
        return not closed

    def _gather(self) -> None:
        """Before the first of those who shared the last batch is drawn alone, wait a moment for the others.

        A batch takes as long with few images as with many. Who asks alone does not wait, but once where he is the only
        one of them who comes back.
        """
        if self._shared and self._line.count(background=False):
            self._changed.wait_for(
                lambda: self._closed or self._line.count(background=False) >= self._shared,
                timeout=min(_GATHER * self._took, _GATHER_MOST),
            )
            self._shared = 0

    def _draw(self, batch: Batch) -> None:
        try:
            self._steps(batch)
        except Exception as error:
            _fail(batch, error)
        except BaseException:
            # The end of the thread. Those who are all in this batch stand in no line any more.
            _fail(batch, ClosedError("the drawing has ended"))
            raise

    def _steps(self, batch: Batch) -> None:
        """Draw a batch to its end, as long as anybody wants it."""
        started = time.perf_counter()
        # The loading of another model, in another thread, may have settled it otherwise.
        runtime.enter(batch.answers.runtime, batch.answers.device)
        last: Moment | None = None
        moments = batch.answers.moments(batch.wanted)
        with closing(moments):
            for last in moments:
                if not self._goes_on(batch):
                    return
                # Made once for all who look, and only where somebody does.
                made = cache(last.pictures)
                for ticket, places, rows in batch.rows:
                    ticket.show(last, places, partial(_rows, made, rows))
        assert last is not None
        images = last.pictures()
        for ticket, places, rows in batch.rows:
            ticket.take(last, places, images[rows])
        self._note(batch, time.perf_counter() - started)

    def _goes_on(self, batch: Batch) -> bool:
        """Between two steps: whether there is to be another. Who has waited too long meanwhile is told."""
        with self._changed:
            late = self._line.late(self._clock())
            closed = self._closed
        _fail_late(late)
        if closed:
            _fail(batch, ClosedError("the server stops"))
        return not closed and batch.is_awaited

    def _note(self, batch: Batch, seconds: float) -> None:
        images = len(batch.wanted)
        rate = images / max(seconds, 1e-6)
        urgent = [len(places) for ticket, places in batch.parts if not ticket.background]
        with self._changed:
            self._shared, self._took = (sum(urgent) if len(urgent) > 1 else 0), seconds
            self._rate = rate if not self._rate else 0.5 * (self._rate + rate)
        if self._told:
            self._told.drawn(images, seconds)


def _fail(batch: Batch, error: Exception) -> None:
    for ticket, _ in batch.parts:
        ticket.fail(error)


def _fail_late(tickets: Sequence[Ticket]) -> None:
    for ticket in tickets:
        ticket.fail(PatienceError("too many others were drawn before"))


def _rows(pictures: Callable[[], np.ndarray], rows: slice) -> np.ndarray:
    return pictures()[rows]
