"""A server's jobs, drawn one after the other where nobody else waits, and gone on with after the server was killed."""

import errno
import secrets
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.batching import Batcher, ClosedError, PatienceError
from rediffuse.serving.jobs.attempt import ServedModels, attempt
from rediffuse.serving.jobs.background import Background, StoppedError
from rediffuse.serving.jobs.items import Item, RowError
from rediffuse.serving.jobs.state import JobLimits, JobState, State, TooManyJobsError
from rediffuse.serving.jobs.store import Accepted, Ended, JobStore
from rediffuse.serving.models import Served
from rediffuse.serving.request import ImageRequest
from rediffuse.serving.wanted import NotAllowedError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Jobs:
    """All jobs of a server, and the thread that draws them in the order in which they were accepted.

    Args:
        store: where they are kept.
        models: what is served.
        batcher: draws them, in the background.
        at_once: images that the batcher takes from one who asks, at most.
        limits: what is accepted.
    """

    def __init__(
        self, store: JobStore, models: ServedModels, batcher: Batcher, *, at_once: int, limits: JobLimits | None = None
    ) -> None:
        self.limits = limits or JobLimits()
        self._store, self._models, self._batcher, self._at_once = store, models, batcher, at_once
        self._changed = threading.Condition()  # guards what follows
        self._jobs: dict[str, Accepted] = {}
        self._ended: dict[str, Ended] = {}
        self._waiting: list[Accepted] = []
        self._drawing: Accepted | None = None
        self._done = 0  # images of the one that is drawn
        self._trouble: str | None = None
        self._cancelled = self._closed = False
        self._background = Background(batcher, at_once)  # of the one that is drawn
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Take up what is there, and begin to draw.

        Raises:
            UserError: the folder can't be used.
        """
        for job in self._store.open():
            ended = self._store.ended(job)
            if ended and ended.state == "cancelled":
                self._store.remove(job)
                continue
            self._jobs[job.id] = job
            if ended:
                self._ended[job.id] = ended
            else:
                self._waiting.append(job)
        self._thread.start()

    def close(self) -> None:
        """Draw no more; what is not done is gone on with by the next server."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._background.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._store.close()

    def accept(self, requests: Sequence[ImageRequest], items: Sequence[Item], served: Served) -> Accepted:
        """Keep a job, and draw it when its turn comes.

        Args:
            requests: its rows.
            items: their images.
            served: the model that will draw them.

        Raises:
            TooManyJobsError: others are to be done, or deleted, first.
            TryAgainError: the disk is full.
            ClosedError: the server stops.
        """
        counts = np.bincount([item.row for item in items], minlength=len(requests)).tolist()
        with self._changed:
            if self._closed:
                raise ClosedError("the server stops")
            waiting = len(self._waiting) + (self._drawing is not None)
            if waiting >= self.limits.waiting:
                raise TooManyJobsError(f"{waiting} jobs wait already; at most {self.limits.waiting} may", 60)
            if len(self._jobs) >= self.limits.kept:
                raise TooManyJobsError(f"there are {len(self._jobs)} jobs, as many as are kept; delete some first", 60)
            number = 1 + max((job.number for job in self._jobs.values()), default=0)
            job = Accepted(
                id=secrets.token_hex(16),
                number=number,
                name=served.name,
                version=served.version,
                model=served.answers.identity,
                counts=tuple(counts),
            )
            try:
                self._store.add(job, requests, served.answers)
            except OSError as error:
                if error.errno in _FULL:
                    raise TryAgainError(f"the job can't be kept: {error.strerror}") from None
                raise
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def state(self, known: str) -> JobState | None:
        """How far the job with this id is; None: there is none."""
        with self._changed:
            job = self._jobs.get(known)
            return None if job is None else self._state(job)

    def states(self) -> list[JobState]:
        """How far each job is, in the order of acceptance."""
        with self._changed:
            return [self._state(job) for job in sorted(self._jobs.values(), key=lambda job: job.number)]

    def _state(self, job: Accepted) -> JobState:
        ended = self._ended.get(job.id)
        if ended:
            done = job.images if ended.state == "done" else self._store.drawn(job)
            return JobState(job, ended.state, done, job.images, ended.error)
        if job == self._drawing:
            state: State = "cancelled" if self._cancelled else "drawing"
            return JobState(job, state, self._done, job.images, self._trouble)
        return JobState(job, "waiting", self._store.drawn(job), job.images, None)

    def image(self, known: str, number: int) -> bytes | None:
        """The file of an image, counted through all rows from 0; None: there is none, or not yet."""
        job = self._jobs.get(known)
        return None if job is None else self._store.image(job, number)

    def manifest(self, known: str) -> bytes | None:
        """The manifest, of a job that is not done its beginning; None: there is none, or not yet."""
        job = self._jobs.get(known)
        return None if job is None else self._store.manifest(job)

    def remove(self, known: str) -> bool:
        """Draw a job no more, and remove its folder; whether there was one."""
        with self._changed:
            job = self._jobs.get(known)
            if job is None:
                return False
            if job == self._drawing:
                self._cancelled = True
                self._background.stop()
                self._changed.notify_all()
                # Its thread removes it, and the next server where this one is killed before. A full disk keeps nobody
                # from making room.
                with suppress(OSError):
                    self._store.end(job, Ended("cancelled"))
            else:
                self._forget(job)
            return True

    def _forget(self, job: Accepted) -> None:
        self._store.remove(job)
        del self._jobs[job.id]
        self._ended.pop(job.id, None)
        if job in self._waiting:
            self._waiting.remove(job)

    def _run(self) -> None:
        while job := self._next():
            try:
                ended = self._attempt(job)
            except StoppedError:
                # Cancelled, or the server stops: `_over` and `_next` know which.
                ended = None
            except ClosedError:
                # Who draws stops, and so does this.
                self._closed, ended = True, None
            except (TryAgainError, PatienceError) as error:
                self._wait(_line(error))
                continue
            except (UserError, RowError, NotAllowedError) as error:
                ended = Ended("failed", _line(error))
            except OSError as error:
                if error.errno in _FULL:
                    self._wait(f"{error.strerror}; it goes on once there is room")
                    continue
                ended = _bug(error)
            except Exception as error:
                ended = _bug(error)
            self._over(job, ended)

    def _next(self) -> Accepted | None:
        """The job that is drawn now, or else the one that has waited longest; None: the server stops."""
        with self._changed:
            while not (self._waiting or self._drawing or self._closed):
                self._changed.wait()
            if self._closed:
                return None
            if self._drawing is None:
                self._drawing, self._cancelled, self._trouble = self._waiting.pop(0), False, None
                self._background = Background(self._batcher, self._at_once)
                self._done = self._store.drawn(self._drawing)
            return self._drawing

    def _over(self, job: Accepted, ended: Ended | None) -> None:
        with self._changed:
            try:
                if self._cancelled:
                    self._forget(job)
                elif ended:
                    self._store.end(job, ended)
                    self._ended[job.id] = ended
                else:
                    return
            except OSError as error:
                # It is looked through once more, and ends then.
                self._trouble = _line(error)
                self._changed.wait(self.limits.retry)
                return
            self._drawing = None

    def _wait(self, why: str) -> None:
        with self._changed:
            self._trouble = why
            if not (self._closed or self._cancelled):
                self._changed.wait(self.limits.retry)

    def _attempt(self, job: Accepted) -> Ended:
        with self._changed:
            self._done = 0
        attempt(job, self._store, self._models, self._background, self._add_done)
        return Ended("done")

    def _add_done(self, images: int) -> None:
        with self._changed:
            self._done += images
            self._trouble = None


def _bug(error: Exception) -> Ended:
    # The traceback is the server's, and no client's.
    traceback.print_exception(error, file=sys.stderr)
    return Ended("failed", f"{type(error).__name__} while it was drawn; the server's log has more")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
