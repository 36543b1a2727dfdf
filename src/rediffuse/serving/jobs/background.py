"""Images of a batcher in the background, asked for by one thread until another one stops it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError

import numpy as np

from rediffuse.serving.answers import Answers
from rediffuse.serving.batching import Batcher, BusyError, Ticket
from rediffuse.serving.wanted import Wanted


class StoppedError(Exception):
    """Who asks was stopped."""


class Background:
    """Asks for a batch at a time.

    Args:
        batcher: draws them.
        at_once: images that it takes from one who asks, at most.
    """

    def __init__(self, batcher: Batcher, at_once: int) -> None:
        self._batcher, self._at_once = batcher, at_once
        self._changed = threading.Condition()  # guards what follows
        self._stopped = False
        self._ticket: Ticket | None = None

    def stop(self) -> None:
        """Draw no more for this one, from whatever thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._drop()

    def drop(self) -> None:
        """Draw what was asked for no more, as nobody waits for it; another batch may be asked for."""
        with self._changed:
            self._drop()

    def _drop(self) -> None:
        if self._ticket:
            self._ticket.cancel()
        self._ticket = None

    def go_on(self) -> None:
        """Nothing, unless it was stopped.

        Raises:
            StoppedError: it was.
        """
        if self._stopped:
            raise StoppedError

    def ask(self, answers: Answers, wanted: Sequence[Wanted]) -> Callable[[], list[np.ndarray]]:
        """Ask for images, as soon as the batcher has room for them; what is returned waits for them.

        Raises:
            StoppedError: now or while they are waited for.
            ClosedError: the batcher draws no more; now or while they are waited for.
        """
        first = self._submitted(answers, wanted[: self._at_once])

        def images() -> list[np.ndarray]:
            drawn = _result(first)
            for start in range(self._at_once, len(wanted), self._at_once):
                drawn += _result(self._submitted(answers, wanted[start : start + self._at_once]))
            return drawn

        return images

    def _submitted(self, answers: Answers, wanted: Sequence[Wanted]) -> Ticket:
        with self._changed:
            while True:
                self.go_on()
                try:
                    # Whoever asks by hand comes first, for as long as it takes.
                    self._ticket = self._batcher.submit(answers, wanted, patience=float("inf"), background=True)
                except BusyError as busy:
                    self._changed.wait(busy.retry_after)
                else:
                    return self._ticket


def _result(ticket: Ticket) -> list[np.ndarray]:
    try:
        return list(ticket.result())
    except CancelledError:
        raise StoppedError from None
