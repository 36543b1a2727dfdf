"""One MLflow run per pipeline run, whatever process a stage runs in, and no stage that MLflow can hurt.

What a stage tells goes to a journal on disk; MLflow is its mirror, brought up to date by a thread, by a later stage, or
by `make sync` (`rediffuse.tracking.sync`). A stage's file calls `rediffuse.stage.run_stage`, which opens the run; only
`train` sees it, as a `Run`. Nothing here imports MLflow until a run is opened: it takes a second, and a stage that is
not tracked doesn't pay it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rediffuse.params import Params
from rediffuse.workspace import Workspace

if TYPE_CHECKING:
    from rediffuse.tracking.run import TrackedRun

# MLflow reads these when it is imported, so they stand where every module that imports it has passed.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# What goes wrong is told in one line; MLflow adds a traceback to it, with the SQL and the URI.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Its own tries take minutes where a server is down; what it is told again comes from the journal.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

LAST_STAGE = "register"  # it finishes the run, and logs for the stages that DVC restored from its cache
SCORED_BY = "evaluate"  # its numbers are the model's, and keep their own names


class Run(Protocol):
    """Where training tells how it goes. None of it may decide a result."""

    def log_curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Add rows of "step" and values ("loss", "lr", "val_loss", ...) to the curves `train/<name>`.

        A step that a curve already has is skipped, also when an earlier, killed process logged it: call it with all
        rows since the last checkpoint, as often as you like.
        """

    def log_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Add what depends on the machine ("examples_per_second", ...) to the curves `timing/<name>`."""

    def log_image(self, name: str, png: bytes) -> None:
        """Keep a PNG as the artifact `previews/<name>`, in place of an earlier one of this name."""

    def log_document(self, name: str, value: Any) -> None:
        """Keep a JSON value as the artifact `documents/<name>.json`, in place of an earlier one of this name."""

    def register(self, candidate: "Candidate", write: Callable[[Path], None]) -> None:
        """Make a model a version in MLflow's registry, and its champion where it is better; a line tells which.

        Args:
            candidate: what the registry shall know of it.
            write: writes the model as MLflow saves models, into a new folder of this path. What it raises is a warning.
        """


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model for MLflow's registry.

    Args:
        name: of the registered model.
        alias: of its best version.
        description: of this version, as Markdown.
        metric: the score that versions are compared by.
        better: lower | higher.
        value: of that score; None where the run has none.
        low, high: the ends of its interval; the value itself where it has none.
        protocol: what must be alike for two versions to be compared: the extractor, the number of images, ...
    """

    name: str
    alias: str
    description: str
    metric: str
    better: str
    value: float | None
    low: float | None
    high: float | None
    protocol: dict[str, str]


class Untracked:
    """A run that keeps nothing."""

    def log_curve(self, rows: Sequence[Mapping[str, float]]) -> None: ...

    def log_timing(self, step: int, values: Mapping[str, float]) -> None: ...

    def log_image(self, name: str, png: bytes) -> None: ...

    def log_document(self, name: str, value: Any) -> None: ...

    def register(self, candidate: Candidate, write: Callable[[Path], None]) -> None: ...

    def finish_stage(self, stage: str, *, refused: bool = False) -> None: ...


def open_run(params: Params, workspace: Workspace, stage: str) -> "AbstractContextManager[TrackedRun]":
    """The run that this pipeline run tells of itself: the newest unfinished one with its content key, or a new one.

    Args:
        params: the parameters; all but `runtime` are part of the key and are logged when the run is created.
        workspace: the journal and the run's store lie in its home, unless MLFLOW_TRACKING_URI names another store.
        stage: the stage that runs now.

    The block leaves the run RUNNING for the next stage; an exception sets FAILED, except a `TryAgainError` or a
    `LeavingError`. Either is found and continued by the next process with the same key. Only `finish_stage(LAST_STAGE)`
    sets FINISHED.

    No failure of MLflow, of its store or of the journal is raised: it is one line on stderr. At its end the block waits
    for MLflow to take the rest, up to a minute while it does; 10 seconds for a first answer, 2 where it failed before,
    or where the process is asked to leave.

    Raises:
        UserError: MLFLOW_TRACKING_URI is none of MLflow's.
    """
    from rediffuse.tracking.run import opened_run

    return opened_run(params, workspace, stage)
