"""A server's jobs, drawn one after the other where nobody else waits, and gone on with after the server was killed."""

import errno
import secrets
import sys
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.answers import Answers
from rediffuse.serving.batching import Batcher, BusyError, ClosedError, PatienceError, Ticket
from rediffuse.serving.jobs.folder import opened
from rediffuse.serving.jobs.items import Item, RowError, items_of
from rediffuse.serving.jobs.running import complete
from rediffuse.serving.jobs.store import Accepted, Ended, JobStore
from rediffuse.serving.models import Served
from rediffuse.serving.request import ImageRequest
from rediffuse.serving.wanted import NotAllowedError, Wanted

_FULL = (errno.ENOSPC, errno.EDQUOT)


class ServedModels(Protocol):
    """What is served; `models.Models` is one."""

    def current(self) -> Served:
        """The model that answers who names none."""
        ...

    def named(self, version: str) -> Served:
        """Another version; KeyError, UserError, TryAgainError."""
        ...


class TooManyJobsError(Exception):
    """No job more is accepted now. One line.

    Args:
        retry_after: seconds.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class JobLimits:
    """What a server takes.

    Args:
        waiting: jobs that are not done, at most.
        kept: jobs in all, with those that are done until somebody deletes them.
        rows: of a job.
        images: of a job.
        retry: seconds until a disk that is full, or a store that does not answer, is tried again.
    """

    waiting: int = 16
    kept: int = 256
    rows: int = 10_000
    images: int = 10_000
    retry: float = 30.0


@dataclass(frozen=True)
class JobState:
    """How far a job is.

    Args:
        state: waiting | drawing | done | failed | cancelled (its folder is about to go).
        done: images that are there, `of` so many.
        error: why it failed, or what it waits for.
    """

    job: Accepted
    state: str
    done: int
    of: int
    error: str | None


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
        self._ticket: Ticket | None = None
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
            if self._ticket:
                self._ticket.cancel()
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
            self._store.add(job, requests, served.answers)
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def state(self, known: str) -> JobState | None:
        """How far the job with this id is; None: there is none."""
        with self._changed:
            job = self._jobs.get(known)
            if job is None:
                return None
            ended = self._ended.get(known)
            if ended:
                done = job.images if ended.state == "done" else self._store.drawn(job)
                return JobState(job, ended.state, done, job.images, ended.error)
            if job == self._drawing:
                state = "cancelled" if self._cancelled else "drawing"
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
                # Its thread removes it, and the next server where this one is killed before.
                self._store.end(job, Ended("cancelled"))
                self._cancelled = True
                self._changed.notify_all()
                if self._ticket:
                    self._ticket.cancel()
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
            except _StoppedError:
                # Cancelled, or the server stops: `_over` and `_next` know which.
                ended = None
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
                self._done = self._store.drawn(self._drawing)
            return self._drawing

    def _over(self, job: Accepted, ended: Ended | None) -> None:
        with self._changed:
            self._ticket = None
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
        answers = self._answers(job)
        requests = self._store.requests(job)
        items = items_of(requests, answers)
        with opened(self._store.out(job), requests, answers, items) as folder:
            self._set_done(0)
            complete(folder, items, answers, lambda wanted: self._draw(answers, wanted), self._add_done)
        return Ended("done")

    def _answers(self, job: Accepted) -> Answers:
        """The model that the job was accepted with.

        Raises:
            UserError: it can't be had any more.
        """
        lost = f"the model that this job was accepted with ({_told(job)}) is not served any more"
        served = self._models.current()
        if served.version != job.version:
            try:
                served = self._models.named(job.version or "")
            except KeyError:
                raise UserError(lost) from None
            except UserError as error:
                raise UserError(f"{lost}: {error}") from None
        if served.answers.identity != job.model:
            raise UserError(f"{lost}: it is {served.answers.identity} now")
        return served.answers

    def _draw(self, answers: Answers, wanted: Sequence[Wanted]) -> list[np.ndarray]:
        starts = range(0, len(wanted), self._at_once)
        return [image for start in starts for image in self._drawn(answers, wanted[start : start + self._at_once])]

    def _drawn(self, answers: Answers, wanted: Sequence[Wanted]) -> list[np.ndarray]:
        while True:
            with self._changed:
                self._go_on()
                try:
                    # Whoever asks by hand comes first, for as long as it takes.
                    self._ticket = self._batcher.submit(answers, wanted, patience=float("inf"), background=True)
                except BusyError as busy:
                    self._changed.wait(busy.retry_after)
                    continue
                except ClosedError:
                    self._closed = True
                    raise _StoppedError from None
            try:
                images = self._ticket.result()
            except CancelledError:
                raise _StoppedError from None
            except ClosedError:
                # Its server stops, and so does this.
                self._closed = True
                raise _StoppedError from None
            self._trouble = None
            return images

    def _go_on(self) -> None:
        if self._closed or self._cancelled:
            raise _StoppedError

    def _set_done(self, images: int) -> None:
        with self._changed:
            self._go_on()
            self._done = images

    def _add_done(self, images: int) -> None:
        with self._changed:
            self._done += images


class _StoppedError(Exception):
    """The job was cancelled, or the server stops."""


def _bug(error: Exception) -> Ended:
    # The traceback is the server's, and no client's.
    traceback.print_exception(error, file=sys.stderr)
    return Ended("failed", f"{type(error).__name__} while it was drawn; the server's log has more")


def _told(job: Accepted) -> str:
    version = f" version {job.version}" if job.version else ""
    return f"{job.name}{version}, {job.model}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
