"""One MLflow run per pipeline run, whatever process a stage runs in.

A stage's file calls `rediffuse.stage.run_stage`, which opens the run; only `train` sees it, as a `Run`. Nothing here
imports MLflow until a run is opened: it takes a second, and a stage that is not tracked doesn't pay it.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from rediffuse.params import Params
from rediffuse.workspace import Workspace

if TYPE_CHECKING:
    from rediffuse.tracking.run import TrackedRun

# MLflow reads these when it is imported, so they stand where every module that imports it has passed.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # by default a server that is down costs minutes

LAST_STAGE = "evaluate"  # it finishes the run, and logs for the stages that DVC restored from its cache


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
        """Keep a JSON value as the artifact `documents/<name>`."""


class Untracked:
    """A run that keeps nothing."""

    def log_curve(self, rows: Sequence[Mapping[str, float]]) -> None: ...

    def log_timing(self, step: int, values: Mapping[str, float]) -> None: ...

    def log_image(self, name: str, png: bytes) -> None: ...

    def log_document(self, name: str, value: Any) -> None: ...

    def finish_stage(self, stage: str) -> None: ...


def open_run(params: Params, workspace: Workspace, stage: str) -> "AbstractContextManager[TrackedRun]":
    """The MLflow run that this pipeline run logs to: the newest unfinished one with its content key, or a new one.

    Args:
        params: the parameters; all but `runtime` are part of the key and are logged when the run is created.
        workspace: the run's store lies in its home, unless MLFLOW_TRACKING_URI names another.
        stage: the stage that runs now.

    The block leaves the run RUNNING for the next stage; an exception sets FAILED, except a `TryAgainError`. Either is
    found and continued by the next process with the same key. Only `finish_stage(LAST_STAGE)` sets FINISHED.

    Raises:
        UserError: the store can't be used (MLFLOW_TRACKING_URI is none of MLflow's, the experiment is deleted).
        TryAgainError: the tracking server does not answer.
    """
    from rediffuse.tracking.run import opened_run

    return opened_run(params, workspace, stage)
