"""What a server says of its jobs, and how many it takes."""

from dataclasses import dataclass
from typing import Literal

from rediffuse.serving.jobs.store import Accepted

State = Literal["waiting", "drawing", "done", "failed", "cancelled"]
"""Of a job; cancelled: its folder is about to go."""


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
        done: images that are there, `of` so many.
        error: why it failed, or what it waits for.
    """

    job: Accepted
    state: State
    done: int
    of: int
    error: str | None
