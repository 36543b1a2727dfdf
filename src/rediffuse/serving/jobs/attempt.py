"""One try at an accepted job: with the model that it was accepted with, from where the last try ended."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from rediffuse.errors import UserError
from rediffuse.serving.answers import Answers
from rediffuse.serving.jobs.background import Background
from rediffuse.serving.jobs.drawing import complete
from rediffuse.serving.jobs.folder import opened
from rediffuse.serving.jobs.items import items_of
from rediffuse.serving.jobs.store import Accepted, JobStore
from rediffuse.serving.models import Served


class ServedModels(Protocol):
    """What is served; `models.Models` is one."""

    def current(self) -> Served:
        """The model that answers who names none."""
        ...

    def named(self, version: str) -> Served:
        """Another version; KeyError, UserError, TryAgainError."""
        ...


def attempt(
    job: Accepted, store: JobStore, models: ServedModels, background: Background, seen: Callable[[int], object]
) -> None:
    """Draw what is missing of the job; once this returns, it is whole.

    Args:
        seen: told how many images more are there.

    Raises:
        UserError, RowError, NotAllowedError: it can't be drawn any more.
        TryAgainError, OSError: not now.
        StoppedError, ClosedError: see `Background`.
    """
    # Or one that was cancelled would wait for what it can't have.
    background.go_on()
    answers = answers_of(job, models)
    requests = store.requests(job)
    items = items_of(requests, answers)
    with opened(store.out(job), requests, answers, items) as folder:
        try:
            complete(folder, items, answers, partial(background.ask, answers), seen, background.go_on)
        finally:
            background.drop()


def answers_of(job: Accepted, models: ServedModels) -> Answers:
    """The model that the job was accepted with.

    Raises:
        UserError: it can't be had any more.
    """
    version = f" version {job.version}" if job.version else ""
    lost = f"the model that this job was accepted with ({job.name}{version}, {job.model}) is not served any more"
    served = models.current()
    if served.version != job.version:
        try:
            served = models.named(job.version or "")
        except KeyError:
            raise UserError(lost) from None
        except UserError as error:
            raise UserError(f"{lost}: {error}") from None
    if served.answers.identity != job.model:
        raise UserError(f"{lost}: it is {served.answers.identity} now")
    return served.answers
