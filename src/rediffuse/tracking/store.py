"""The MLflow store: one database and one artifact folder for the checkout, its experiments and its queue workers.

Experiments run in temporary folders that DVC deletes, so every path in the store is absolute and below the lasting
checkout. Processes that open a fresh database at the same time break each other's migrations: one lock keeps them
apart, here and around the search for a run.
"""

import fcntl
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient

from rediffuse.errors import TryAgainError, UserError
from rediffuse.workspace import Workspace

EXPERIMENT = "rediffuse"
_SQLITE = "sqlite:///"
_REMOTE = ("http", "https", "databricks")
_DATABASES = {"sqlite": None, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Scheme -> port of what MLflow keeps in a database."""
_PATIENCE = 1.0  # seconds for a lock on a database, and for a database server to take a connection


@dataclass(frozen=True)
class Store:
    """A client and the experiment all runs belong to, and the workspace whose lock keeps its writers apart."""

    client: MlflowClient
    experiment_id: str
    workspace: Workspace


@contextmanager
def store_lock(workspace: Workspace) -> Iterator[None]:
    """Hold the machine-wide lock of this workspace's store; the kernel frees it when the process dies."""
    workspace.state.mkdir(parents=True, exist_ok=True)
    with (workspace.state / "mlflow.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_uri(workspace: Workspace) -> None:
    """Refuse a MLFLOW_TRACKING_URI that MLflow will never open; nothing is asked of the store.

    Raises:
        UserError: the scheme is none of MLflow's.
    """
    uri = tracking_uri(workspace)
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else uri
    known = {*_REMOTE, *_DATABASES, *(plugin.name for plugin in entry_points(group="mlflow.tracking_store"))} - {"file"}
    if scheme not in known or (scheme == "sqlite" and not uri.startswith(_SQLITE)):
        raise UserError(
            f"MLFLOW_TRACKING_URI: MLflow can't open {without_secrets(uri)}; "
            "allowed are http(s)://HOST:PORT, sqlite:///FILE and postgresql://, mysql:// or mssql:// addresses"
        )


def open_store(workspace: Workspace) -> Store:
    """The store, made on first use; hold `store_lock`.

    Raises:
        TryAgainError: the experiment is deleted.
        Exception: whatever MLflow, SQLite or the network say; `reason` tells it in one line.
    """
    _stay_quiet()
    uri = tracking_uri(workspace)
    check_server(uri)
    check_file(workspace)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        location = None if _is_remote(uri) else workspace.tracking_artifacts.absolute().as_uri()
        return Store(client, client.create_experiment(EXPERIMENT, artifact_location=location), workspace)
    if experiment.lifecycle_stage != "active":
        raise TryAgainError(
            f"the MLflow experiment {EXPERIMENT} is deleted; bring it back with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`"
        )
    return Store(client, experiment.experiment_id, workspace)


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


def sqlite_file(uri: str) -> Path | None:
    """The file that a SQLite address names; None for another kind of store."""
    return Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0])) if uri.startswith(_SQLITE) else None


def check_file(workspace: Workspace) -> None:
    """Ask a SQLite file for the right to write, and let readers (mlflow ui) and a writer work at the same time.

    MLflow waits 20 seconds for a lock that this waits one for.

    Raises:
        OSError, sqlite3.Error: it can't be written now.
    """
    database = sqlite_file(tracking_uri(workspace))
    if database is None:
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database, timeout=_PATIENCE)) as connection:
        connection.execute("PRAGMA journal_mode")  # refuses what is no database
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        try:
            connection.execute("PRAGMA journal_mode=WAL")  # stays in the file
        except sqlite3.OperationalError as error:
            # Where a reader holds the file just now, the old mode is slower, not wrong.
            if error.sqlite_errorcode not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise


def reason(error: BaseException) -> str:
    """Why MLflow could not be told, in one line that shows no password."""
    seen = {id(error)}
    # What MLflow wraps says more than the wrapping: `Connection refused`, `database is locked`.
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = re.sub(r"(\w://)\S*@", r"\1", " ".join(str(text).split()))
    for name, value in os.environ.items():
        if len(value) >= 4 and re.search("PASSWORD|TOKEN|SECRET|_KEY", name):
            line = line.replace(value, "***")
    return line if len(line) <= 200 else f"{line[:200]}..."


def without_secrets(uri: str) -> str:
    """The URI without user, password and query, fit for a message."""
    if uri.startswith(_SQLITE):
        return uri.partition("?")[0]
    # Greedy: a password may hold any character, also where a URI allows it no `/` or `@`.
    return re.sub(r"//.*@", "//", uri).partition("?")[0]


def _escaped(path: Path) -> str:
    """The path for a SQLAlchemy URL. Not `quote`: MLflow makes the parent folder without unquoting."""
    return str(path).replace("%", "%25").replace("?", "%3F")


def _is_remote(uri: str) -> bool:
    return uri.startswith(_REMOTE)


def _stay_quiet() -> None:
    """What fails is told in one line, by whoever asked; MLflow's SQL and urllib3 would write a page of their own."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def check_server(uri: str) -> None:
    """Find out in seconds whether a database server is there: MLflow would try for minutes before it said so.

    Raises:
        OSError: it is not.
    """
    address = urlsplit(uri)
    port = address.port or _DATABASES.get(address.scheme.partition("+")[0])
    if address.hostname and port and not _is_remote(uri):
        socket.create_connection((address.hostname, port), timeout=_PATIENCE).close()
