"""A run that outlives its processes: found by its key, continued after a kill, never told the same thing twice.

MLflow's parameters are immutable and its points can't be deleted, so everything is written as "unless it is there
already": a stage that DVC repeats inside an unfinished run leaves one curve, not two.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from rediffuse.errors import LeavingError, TryAgainError
from rediffuse.params import Params, flatten
from rediffuse.tracking import LAST_STAGE, mirror
from rediffuse.tracking.key import content_key
from rediffuse.tracking.names import safe_name
from rediffuse.tracking.store import Store, open_store, store_lock
from rediffuse.workspace import Workspace

KEY_TAG = "rediffuse.key"

# MLflow refuses larger batches.
_METRICS_A_BATCH = 1000
_OTHERS_A_BATCH = 100


@contextmanager
def opened_run(params: Params, workspace: Workspace, stage: str) -> Iterator["TrackedRun"]:
    """See `rediffuse.tracking.open_run`."""
    key = content_key(params, workspace)
    with store_lock(workspace):
        store = open_store(workspace)
        run = TrackedRun(store, _unfinished_run(store, key) or _new_run(store, key, params), workspace)
        run.describe(params, stage)
    try:
        yield run
    except (TryAgainError, LeavingError):
        raise  # Interrupted, not failed: the next process goes on where this one stood.
    except BaseException:
        store.client.set_terminated(run.id, "FAILED")
        raise


class TrackedRun:
    """A `rediffuse.tracking.Run` in MLflow."""

    def __init__(self, store: Store, run_id: str, workspace: Workspace) -> None:
        self.id = run_id
        self.store = store
        self.workspace = workspace
        self._client = store.client
        self._points: dict[str, dict[int, float]] = {}
        self._started = time.monotonic()

    def log_curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Add rows of "step" and values to the curves `train/<name>`; a step that a curve already has is skipped."""
        self._log_points(
            (f"train/{safe_name(name)}", int(row["step"]), float(value))
            for row in rows
            for name, value in row.items()
            if name != "step"
        )

    def log_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Add what depends on the machine to the curves `timing/<name>`; a step that one already has is skipped."""
        timings = ((f"timing/{safe_name(name)}", step, float(value)) for name, value in values.items())
        self._log_points(timings, repeatable=False)

    def log_image(self, name: str, png: bytes) -> None:
        """Keep a PNG as the artifact `previews/<name>`, in place of an earlier one of this name."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(png)
            self.log_file(path, "previews")

    def finish_stage(self, stage: str) -> None:
        """Log what the stage wrote, and how long it took; the last stage also logs for all before it and ends the run.

        DVC restores a stage it has run before from its cache, and then no process tells MLflow of it. So the last stage
        goes through all it depends on and adds what is missing.
        """
        self.log_summaries({f"timing/{stage}_seconds": time.monotonic() - self._started})
        self.set_tags({f"stage.{stage}": "ran"})
        mirror.log_outputs_of(self, stage, with_upstream=stage == LAST_STAGE)
        if stage == LAST_STAGE:
            self.set_tags({"rediffuse.finished": stage})
            self._client.set_terminated(self.id, "FINISHED")

    def log_summaries(self, values: Mapping[str, float], model_id: str | None = None) -> None:
        """Log numbers that have one value a run; a number that has changed since becomes the metric's next step.

        Args:
            values: metric name -> value.
            model_id: the LoggedModel the numbers belong to as well.
        """
        known: dict[str, float] = self.entity().data.metrics
        held = self._metrics_of_model(model_id) if model_id else known.keys()
        fresh = [
            (name, self._next_step(name) if name in known else 0, value)
            for name, value in values.items()
            if known.get(name) != value or name not in held
        ]
        self._log_metrics(fresh, model_id)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file as an artifact, in place of an earlier one of this name."""
        self._client.log_artifact(self.id, str(path), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, in place of earlier ones."""
        entities = [RunTag(safe_name(name, keep="/"), value) for name, value in tags.items()]
        for batch in _batches(entities, _OTHERS_A_BATCH):
            self._client.log_batch(self.id, tags=batch)

    def entity(self) -> Any:
        """MLflow's own view of the run, as it stands in the store."""
        return self._client.get_run(self.id)

    def describe(self, params: Params, stage: str) -> None:
        """Mark the run as running this stage, here and now, and log the parameters it does not have yet."""
        logged = self.entity().data.params
        values = [(safe_name(name), _as_text(value)) for name, value in flatten(params.tracked()).items()]
        missing = [Param(name, value) for name, value in values if name not in logged]
        for batch in _batches(missing, _OTHERS_A_BATCH):
            self._client.log_batch(self.id, params=batch)
        experiment = os.environ.get("DVC_EXP_NAME")
        commit = _git_commit(self.workspace.root)
        self.set_tags(
            {f"runtime.{name}": _as_text(value) for name, value in params.runtime.model_dump().items()}
            | {"rediffuse.stage": stage, "dvc.root": str(self.workspace.home.absolute())}
            | ({"mlflow.source.git.commit": commit} if commit else {})
            | ({"dvc.experiment": experiment} if experiment else {})
        )
        self._client.update_run(self.id, status="RUNNING", name=experiment)

    def _log_points(self, points: Iterable[tuple[str, int, float]], *, repeatable: bool = True) -> None:
        """Log the points whose metric does not have their step yet.

        A repeatable one that is there with another value means that this process computes something else than the
        one before (another device, other raw data): nothing can be taken back, so the run says it.
        """
        fresh = []
        for name, step, value in points:
            known = self._points_of(name)
            if step not in known:
                known[step] = value
                fresh.append((name, step, value))
            elif repeatable and not _close(known[step], value):
                self._report_divergence(f"{name} at step {step} was {known[step]:.6g} and is now {value:.6g}")
                repeatable = False  # Once is enough.
        self._log_metrics(fresh)

    def _log_metrics(self, points: Sequence[tuple[str, int, float]], model_id: str | None = None) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step, model_id=model_id) for name, step, value in points]
        for batch in _batches(metrics, _METRICS_A_BATCH):
            self._client.log_batch(self.id, metrics=batch)

    def _points_of(self, name: str) -> dict[int, float]:
        """Step -> value of one metric, with what earlier processes logged."""
        if name not in self._points:
            history = self._client.get_metric_history(self.id, name)
            self._points[name] = {point.step: point.value for point in history}
        return self._points[name]

    def _next_step(self, name: str) -> int:
        return 1 + max((point.step for point in self._client.get_metric_history(self.id, name)), default=-1)

    def _metrics_of_model(self, model_id: str) -> set[str]:
        return {metric.key for metric in self._client.get_logged_model(model_id).metrics or []}

    def _report_divergence(self, message: str) -> None:
        if "rediffuse.diverged" not in self.entity().data.tags:
            sys.stderr.write(f"warning: this run's curves mix two trainings: {message}\n")
            self.set_tags({"rediffuse.diverged": message})


def _unfinished_run(store: Store, key: str) -> str | None:
    """The newest run with this key that no last stage has finished: running, failed or killed."""
    found = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{KEY_TAG}` = '{key}' and attributes.status != 'FINISHED'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0].info.run_id if found else None


def _new_run(store: Store, key: str, params: Params) -> str:
    name = f"{params.prepare.source}-{params.model.name}-{params.diffusion.process}-{key[:8]}"
    run = store.client.create_run(store.experiment_id, tags={KEY_TAG: key}, run_name=name)
    run_id: str = run.info.run_id
    return run_id


def _as_text(value: Any) -> str:
    """A parameter's value as params.yaml would show it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _close(first: float, second: float) -> bool:
    """Equal up to what a CSV file with six digits keeps."""
    return math.isclose(first, second, rel_tol=1e-3, abs_tol=1e-6) or (math.isnan(first) and math.isnan(second))


def _git_commit(root: Path) -> str | None:
    """The commit the checkout stands on, or None outside git; for an experiment it is the baseline's."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
