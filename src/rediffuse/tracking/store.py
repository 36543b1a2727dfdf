"""The MLflow store: one database and one artifact folder for the checkout, its experiments and its queue workers.

Experiments run in temporary folders that DVC deletes, so every path in the store is absolute and below the lasting
checkout. Processes that open a fresh database at the same time break each other's migrations: one lock keeps them
apart, here and around the search for a run.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from rediffuse.errors import TryAgainError, UserError
from rediffuse.workspace import Workspace

EXPERIMENT = "rediffuse"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Store:
    """A client and the experiment all runs belong to."""

    client: MlflowClient
    experiment_id: str


@contextmanager
def store_lock(workspace: Workspace) -> Iterator[None]:
    """Hold the machine-wide lock of this workspace's store; the kernel frees it when the process dies."""
    workspace.state.mkdir(parents=True, exist_ok=True)
    with (workspace.state / "mlflow.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def open_store(workspace: Workspace) -> Store:
    """The store, made on first use; hold `store_lock`.

    Raises:
        UserError: MLFLOW_TRACKING_URI is none that MLflow opens, or the experiment is deleted.
        TryAgainError: the tracking server does not answer.
    """
    uri = tracking_uri(workspace)
    if uri.startswith(_SQLITE):
        _switch_to_wal(Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0])))
    try:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            location = None if _is_remote(uri) else workspace.tracking_artifacts.absolute().as_uri()
            return Store(client, client.create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException as error:
        if _is_remote(uri):
            raise TryAgainError(
                f"MLFLOW_TRACKING_URI: the server {_without_secrets(uri)} does not answer as MLflow does; "
                "start it, or set runtime.tracking to false"
            ) from error
        raise UserError(
            f"MLFLOW_TRACKING_URI: MLflow can't open {_without_secrets(uri)}: {str(error).splitlines()[0]}"
        ) from error
    if experiment.lifecycle_stage != "active":
        raise UserError(
            f"the MLflow experiment {EXPERIMENT} is deleted; bring it back with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`"
        )
    return Store(client, experiment.experiment_id)


def tracking_uri(workspace: Workspace) -> str:
    """MLFLOW_TRACKING_URI where it is set, else the database in the workspace's home.

    A relative SQLite path counts from the home: the working folder may be a temporary one of DVC's.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return _SQLITE + _escaped(workspace.tracking_database.absolute())
    if uri.startswith(_SQLITE) and not uri.startswith(f"{_SQLITE}/"):
        return f"{_SQLITE}{_escaped(workspace.home.absolute())}/{uri.removeprefix(_SQLITE)}"
    return uri


def _escaped(path: Path) -> str:
    """The path for a SQLAlchemy URL. Not `quote`: MLflow makes the parent folder without unquoting."""
    return str(path).replace("%", "%25").replace("?", "%3F")


def _is_remote(uri: str) -> bool:
    return uri.startswith(("http://", "https://", "databricks"))


def _without_secrets(uri: str) -> str:
    """The URI without user, password and query, fit for an error message."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _switch_to_wal(database: Path) -> None:
    """Let readers (mlflow ui) and a writer work at the same time; the mode stays in the file.

    Raises:
        UserError: SQLite can't use the file. MLflow would try again for two minutes before it said so.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except (OSError, sqlite3.Error) as error:
        # Where another process holds the file just now, the old mode is slower, not wrong.
        if getattr(error, "sqlite_errorcode", None) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise UserError(f"the tracking database {database} can't be used: {error}") from error
