import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from rediffuse.errors import TryAgainError, UserError
from rediffuse.params import Params
from rediffuse.tracking import open_run
from rediffuse.tracking.store import EXPERIMENT, open_store, reason, store_lock, tracking_uri, without_secrets
from rediffuse.workspace import Workspace


def test_the_database_is_in_wal_mode_and_the_artifacts_are_absolute(workspace: Workspace) -> None:
    store = open_store(workspace)
    with closing(sqlite3.connect(workspace.tracking_database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    location = store.client.get_experiment(store.experiment_id).artifact_location
    assert location == (workspace.home / "mlartifacts").as_uri()


def test_a_second_opening_finds_the_same_experiment(workspace: Workspace) -> None:
    assert open_store(workspace).experiment_id == open_store(workspace).experiment_id


def test_a_home_of_any_name_works(workspace: Workspace, tmp_path: Path) -> None:
    home = tmp_path / "100% señor #1?"
    workspace.home.rename(home)
    store = open_store(Workspace.at(home))
    run = store.client.create_run(store.experiment_id)
    store.client.log_text(run.info.run_id, "x", "a.txt")
    assert (home / "mlartifacts" / run.info.run_id / "artifacts" / "a.txt").read_text() == "x"
    assert sorted(path.name for path in home.iterdir() if path.name.startswith("ml"))[:2] == [
        "mlartifacts",
        "mlflow.db",
    ]


def test_the_lock_keeps_a_second_process_out(workspace: Workspace) -> None:
    attempt = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", attempt, str(workspace.state / "mlflow.lock")]
    with store_lock(workspace):
        assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert subprocess.run(command, check=False).returncode == 0


def test_the_uri_of_the_user_comes_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert tracking_uri(workspace) == "http://tracking.example:5000"


def test_a_relative_database_counts_from_home(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = Workspace(root=tmp_path / "tmpX", home=workspace.home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/all.db")
    assert tracking_uri(temporary) == f"sqlite:///{workspace.home}/runs/all.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/all.db")
    assert tracking_uri(temporary) == "sqlite:////srv/all.db"


@pytest.mark.parametrize("uri", ["nonsense://x", "file:///tmp/x", "mlruns", "sqlite:x.db"])
def test_a_uri_that_mlflow_never_opens_is_the_users_mistake_before_anything_is_computed(
    params: Params, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    message = f"MLFLOW_TRACKING_URI: MLflow can't open {uri}; allowed are http"
    with pytest.raises(UserError, match=message), open_run(params, workspace, "train"):
        raise AssertionError("the stage ran")
    assert not workspace.journal.exists()


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://me:sec/r@et?x#@host/path?token=abc", "https://host/path"),
        ("postgresql+psycopg2://me:secret@db/mlflow?sslmode=require", "postgresql+psycopg2://db/mlflow"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_no_message_shows_a_password(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown


def test_the_reason_is_what_went_wrong_first_in_one_line_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter22")
    error = RuntimeError("something went wrong")
    error.__cause__ = ValueError("no answer from\n http://me:secret@host/x with hunter22")
    assert reason(error) == "no answer from http://host/x with ***"


def test_a_locked_database_is_told_in_a_second_not_in_twenty(workspace: Workspace) -> None:
    with closing(sqlite3.connect(workspace.tracking_database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            open_store(workspace)
        assert time.monotonic() - started < 15


def test_a_database_that_is_none_is_refused_at_once(workspace: Workspace) -> None:
    workspace.tracking_database.write_bytes(b"not a database, but long enough to have a header of one" * 20)
    with pytest.raises(sqlite3.DatabaseError, match="file is not a database"):
        open_store(workspace)


def test_a_deleted_experiment_is_told_with_the_way_back(workspace: Workspace) -> None:
    store = open_store(workspace)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(TryAgainError, match=f"{EXPERIMENT} is deleted.*--experiment-id {store.experiment_id}"):
        open_store(workspace)
