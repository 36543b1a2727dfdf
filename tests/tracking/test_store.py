import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rediffuse.errors import TryAgainError, UserError
from rediffuse.tracking.store import EXPERIMENT, open_store, store_lock, tracking_uri
from rediffuse.workspace import Workspace

CHECKOUT = Path(__file__).resolve().parents[2]

OPEN_AT = """
import sys, time
from pathlib import Path
from rediffuse.params import load_params
from rediffuse.tracking import open_run
from rediffuse.workspace import Workspace
import rediffuse.tracking.run

workspace = Workspace.at(Path(sys.argv[1]))
params = load_params(workspace.params).model_copy(update={"seed": int(sys.argv[2])})
workspace.root.joinpath("ready" + sys.argv[2]).touch()
while len(list(workspace.root.glob("ready*"))) < 4:
    time.sleep(0.01)
with open_run(params, workspace, "evaluate") as run:
    run.finish_stage("evaluate")
"""


def test_four_processes_that_open_a_fresh_store_at_once_all_log(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((CHECKOUT / "params.yaml").read_bytes())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT, str(tmp_path), str(seed)],
            env=os.environ | {"PYTHONPATH": str(CHECKOUT / "src")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert errors == [""] * 4
    store = open_store(Workspace.at(tmp_path))
    found = store.client.search_runs([store.experiment_id])
    assert sorted(run.data.params["seed"] for run in found) == ["0", "1", "2", "3"]
    assert {run.info.status for run in found} == {"FINISHED"}


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


@pytest.mark.parametrize("uri", ["nonsense://x", "file:///tmp/x"])
def test_a_uri_that_mlflow_does_not_open_is_the_users_mistake(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=f"MLFLOW_TRACKING_URI: MLflow can't open {uri}"):
        open_store(workspace)


def test_a_server_that_does_not_answer_is_for_another_time_and_no_password_is_shown(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    with pytest.raises(TryAgainError, match=f"http://127.0.0.1:{port} does not answer") as caught:
        open_store(workspace)
    assert "secret" not in str(caught.value)


def test_a_database_that_is_none_is_refused_at_once(workspace: Workspace) -> None:
    workspace.tracking_database.write_bytes(b"not a database, but long enough to have a header of one" * 20)
    with pytest.raises(UserError, match="file is not a database"):
        open_store(workspace)


def test_a_deleted_experiment_is_told_with_the_way_back(workspace: Workspace) -> None:
    store = open_store(workspace)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match=f"{EXPERIMENT} is deleted.*--experiment-id {store.experiment_id}"):
        open_store(workspace)
