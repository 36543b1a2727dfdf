"""The runs of the store as a table needs them. Nothing is written: a store that is not there is not made."""

import gc
import sqlite3
from collections.abc import Hashable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rediffuse.errors import TryAgainError
from rediffuse.leaderboard.names import dotted
from rediffuse.workspace import Workspace

_PAGE = 200  # runs at a time: each brings hundreds of parameters and metrics
_PROTOCOL, _OUT = "protocol.", "out."
_MADE = ("models/denoiser.safetensors", "samples/images.npy")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run.

    Args:
        name: DVC's of the experiment, or MLflow's.
        key: its content key; of parameters and code; empty where it has none.
        commit: that it, or its experiment, started from.
        started: milliseconds since 1970.
        params: as text, by dotted name.
        numbers: scores, by dotted name.
        protocol: `fidelity.images` -> "180"; empty for runs that noted none.
        data: name and digest of the data set, split included; empty where it was not told.
        outs: MD5 of each, by path.
    """

    run_id: str
    name: str
    status: str
    key: str
    commit: str
    started: int
    params: dict[str, str]
    numbers: dict[str, float]
    protocol: dict[str, str]
    data: tuple[str, str]
    outs: dict[str, str]

    @property
    def same(self) -> Hashable:
        """What is alike only for runs that made and scored the same: the key holds neither the data nor the weights
        of extractors nor the machine.
        """
        extractors = sorted(item for item in self.protocol.items() if item[0].endswith(".digest"))
        return self.key or self.run_id, self.data, tuple(extractors), tuple(map(self.outs.get, _MADE))


def read_runs(workspace: Workspace) -> list[Run]:
    """All runs of the workspace's store, newest first; none where there is no store.

    Raises:
        UserError: MLFLOW_TRACKING_URI is none of MLflow's.
        TryAgainError: the store does not answer.
    """
    # A second's import, for --help and a mistyped option too.
    from rediffuse.tracking.store import check_server, check_uri, reason, sqlite_file, tracking_uri, without_secrets

    check_uri(workspace)
    uri = tracking_uri(workspace)
    try:
        database = sqlite_file(uri)
        if database is not None and not _has_experiment(database):
            return []
        check_server(uri)
        with _no_collection():
            return [_run(entity) for entity in _entities(uri)]
    except Exception as error:
        raise TryAgainError(f"MLflow at {without_secrets(uri)} can't be read now ({reason(error)})") from error


def newest_finished(runs: list[Run]) -> list[Run]:
    """Of finished runs that made and scored the same the newest."""
    newest: dict[Hashable, Run] = {}
    for run in runs:
        if run.status == "FINISHED" and run.started >= newest.get(run.same, run).started:
            newest[run.same] = run
    return list(newest.values())


@contextmanager
def _no_collection() -> Iterator[None]:
    """MLflow makes an object of each parameter, metric and tag; to look them through for garbage takes longest."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _has_experiment(database: Path) -> bool:
    """Whether a SQLite file holds our experiment: MLflow would make the file, its tables and a first experiment."""
    from rediffuse.tracking.store import EXPERIMENT

    if not database.exists():
        return False
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'experiments'").fetchall()
        return bool(tables and connection.execute("SELECT 1 FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone())


def _entities(uri: str) -> Iterator[Any]:
    from mlflow import MlflowClient

    from rediffuse.tracking.store import EXPERIMENT

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    token = None
    while experiment is not None:
        page = client.search_runs(
            [experiment.experiment_id],
            max_results=_PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _run(entity: Any) -> Run:
    tags: dict[str, str] = entity.data.tags
    named = {dotted(name): value for name, value in entity.data.metrics.items()}
    inputs = entity.inputs.dataset_inputs if entity.inputs else []
    # Of the three splits, alike but for the ending of their names.
    data = min(((each.dataset.name.rpartition("-")[0], each.dataset.digest) for each in inputs), default=("", ""))
    return Run(
        run_id=entity.info.run_id,
        name=entity.info.run_name or entity.info.run_id,
        status=entity.info.status,
        key=tags.get("rediffuse.key", ""),
        commit=tags.get("mlflow.source.git.commit", ""),
        started=entity.info.start_time,
        params=dict(entity.data.params),
        numbers={name: value for name, value in named.items() if name is not None},
        protocol={tag.removeprefix(_PROTOCOL): text for tag, text in tags.items() if tag.startswith(_PROTOCOL)},
        data=data,
        outs={tag.removeprefix(_OUT): md5 for tag, md5 in tags.items() if tag.startswith(_OUT)},
    )
