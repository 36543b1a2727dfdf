"""Records told to MLflow: the run is found by its key and continued, and never told the same thing twice.

MLflow's parameters are immutable and its points can't be deleted, so everything is written as "unless it is there
already": a stage that DVC repeats inside an unfinished run leaves one curve, not two, and so does a journal that is
told again from its beginning.
"""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from rediffuse.tracking import lineage, registry
from rediffuse.tracking.names import safe_name
from rediffuse.tracking.records import Artifact, Begin, Data, End, Points, Registration, Summaries, Tags, Told, Weights
from rediffuse.tracking.refusals import is_refused
from rediffuse.tracking.store import Store

KEY_TAG = "rediffuse.key"
JOURNAL_TAG = "rediffuse.journal"

# MLflow refuses larger batches.
METRICS_A_BATCH = 1000
_OTHERS_A_BATCH = 100


class MlflowRun:
    """A run in MLflow.

    Args:
        store: that it lies in.
        run_id: MLflow's.
        folder: of the journal whose artifacts it takes.
    """

    def __init__(self, store: Store, run_id: str, folder: Path) -> None:
        self.id = run_id
        self.store = store
        self._folder = folder
        self._client = store.client
        self._points: dict[str, dict[int, float]] = {}

    @classmethod
    def begun(cls, store: Store, begin: Begin, at: int, folder: Path) -> "MlflowRun":
        """The run that this journal began, else the newest unfinished one with its key, else a new one."""
        run_id = (
            _newest(store, f"tags.`{JOURNAL_TAG}` = '{folder.name}'")
            or _newest(store, f"tags.`{KEY_TAG}` = '{begin.key}' and attributes.status != 'FINISHED'")
            or _new_run(store, begin, at, folder)
        )
        return cls(store, run_id, folder)

    def tell(self, told: Sequence[Told]) -> None:
        """Tell MLflow a record, or several of points."""
        if all(isinstance(each.record, Points) for each in told):
            self._log_points(told)
            return
        for at, record in told:
            match record:
                case Begin():
                    self._describe(record)
                case Summaries():
                    self._log_summaries(record, at)
                case Artifact():
                    self._log_file(record)
                case Tags():
                    self._set_tags(record.values, default=record.default)
                case Data():
                    lineage.log_data(self, record)
                case Weights():
                    lineage.log_model(self, record)
                case Registration():
                    registry.register(self, record, self._folder / record.file)
                case End():
                    self._set_tags(record.tags)
                    self._client.set_terminated(self.id, record.status, end_time=at)

    def check_taken(self) -> None:
        """Tell MLflow what it knows already.

        Raises:
            Exception: it takes nothing of this run now.
        """
        self._set_tags({JOURNAL_TAG: self._folder.name})

    def entity(self) -> Any:
        """MLflow's own view of the run, as it stands in the store."""
        return self._client.get_run(self.id)

    def _describe(self, begin: Begin) -> None:
        """Mark the run as running this stage, and log the parameters it does not have yet."""
        logged = self.entity().data.params
        missing = [Param(name, value) for name, value in begin.params.items() if name not in logged]
        for batch in _batches(missing, _OTHERS_A_BATCH):
            self._client.log_batch(self.id, params=batch)
        self._set_tags(begin.tags | {JOURNAL_TAG: self._folder.name})
        self._client.update_run(self.id, status="RUNNING", name=begin.experiment)

    def _set_tags(self, tags: dict[str, str], *, default: bool = False) -> None:
        known = self.entity().data.tags if default and tags else {}
        named = {safe_name(name, keep="/"): value for name, value in tags.items()}
        entities = [RunTag(name, value) for name, value in named.items() if name not in known]
        for batch in _batches(entities, _OTHERS_A_BATCH):
            self._client.log_batch(self.id, tags=batch)

    def _log_file(self, artifact: Artifact) -> None:
        path = self._folder / artifact.file
        # Gone: MLflow has it, and only the note of it is lost.
        if path.exists():
            self._client.log_artifact(self.id, str(path), artifact.folder)
        if artifact.table:
            self._mark_table(f"{artifact.folder}/{path.name}")

    def _mark_table(self, path: str) -> None:
        """Let MLflow's pages find a table: they look into one tag, which lists them all."""
        listed = json.loads(self.entity().data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
        entry = {"path": path, "type": "table"}
        if entry not in listed:
            self._set_tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([*listed, entry])})

    def _log_summaries(self, summaries: Summaries, at: int) -> None:
        model = self._model_of(summaries)
        known: dict[str, float] = self.entity().data.metrics
        held = {metric.key for metric in model.metrics or []} if model else known.keys()
        fresh = []
        for name, value in summaries.values.items():
            if name in known and known[name] == value and name in held:
                continue
            history = self._client.get_metric_history(self.id, name) if name in known else []
            # The same time: it was told before, and is not the last value since.
            if name in held and any(point.timestamp == at and point.value == value for point in history):
                continue
            step = 1 + max((point.step for point in history), default=-1)
            fresh.append(_metric(name, value, at, step, model.model_id if model else None))
        self._log_metrics(fresh)

    def _model_of(self, summaries: Summaries) -> Any:
        """The LoggedModel that the numbers belong to as well, where MLflow has it and knows of such."""
        try:
            return lineage.find_model(self, summaries.model) if summaries.model else None
        except MlflowException as error:
            if is_refused(error):
                return None
            raise

    def _log_points(self, told: Sequence[Told]) -> None:
        """Log the points whose metric does not have their step yet.

        A repeatable one that is there with another value means that this process computes something else than the
        one before (another device, other raw data): nothing can be taken back, so the run says it.
        """
        fresh: dict[tuple[str, int], Metric] = {}
        diverged: str | None = None
        for at, record in told:
            assert isinstance(record, Points)
            for name, step, value in record.points:
                known = self._points_of(name)
                before = known.get(step)
                if before is None:
                    known[step] = value
                    fresh[name, step] = _metric(name, value, at, step)
                elif record.repeatable and not diverged and not close(before, value):
                    diverged = f"{name} at step {step} was {before:.6g} and is now {value:.6g}"
        if diverged:
            self._report_divergence(diverged)
        self._log_metrics(list(fresh.values()))

    def _log_metrics(self, metrics: Sequence[Metric]) -> None:
        for batch in _batches(metrics, METRICS_A_BATCH):
            self._client.log_batch(self.id, metrics=batch)

    def _points_of(self, name: str) -> dict[int, float]:
        """Step -> value of one metric, with what earlier processes logged."""
        if name not in self._points:
            history = self._client.get_metric_history(self.id, name)
            self._points[name] = {point.step: point.value for point in history}
        return self._points[name]

    def _report_divergence(self, message: str) -> None:
        if "rediffuse.diverged" not in self.entity().data.tags:
            sys.stderr.write(f"warning: this run's curves mix two trainings: {message}\n")
            self._set_tags({"rediffuse.diverged": message})


def close(first: float, second: float) -> bool:
    """Equal up to what a CSV file with six digits keeps."""
    return math.isclose(first, second, rel_tol=1e-3, abs_tol=1e-6) or (math.isnan(first) and math.isnan(second))


def _newest(store: Store, condition: str) -> str | None:
    """The newest run of which this is true."""
    found = store.client.search_runs(
        [store.experiment_id], condition, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return found[0].info.run_id if found else None


def _new_run(store: Store, begin: Begin, at: int, folder: Path) -> str:
    tags = {KEY_TAG: begin.key, JOURNAL_TAG: folder.name}
    run = store.client.create_run(store.experiment_id, start_time=at, tags=tags, run_name=begin.name)
    run_id: str = run.info.run_id
    return run_id


def _metric(name: str, value: float, at: int, step: int, model_id: str | None = None) -> Metric:
    return Metric(name, value, at, step, model_id=model_id)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
