"""What a store does not take, now or ever, holds nothing else back."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from requests import HTTPError, Response

from rediffuse.errors import TryAgainError
from rediffuse.params import Params
from rediffuse.tracking import open_run, sender
from rediffuse.tracking.delivery import Delivery
from rediffuse.tracking.journal import Journal, held, waiting
from rediffuse.tracking.key import content_key
from rediffuse.tracking.records import Artifact, Begin, End, Points, Record, Summaries, Tags, Weights
from rediffuse.tracking.refusals import is_refused
from rediffuse.tracking.sender import Sender
from rediffuse.tracking.store import open_store
from rediffuse.tracking.sync import main, synced
from rediffuse.workspace import Workspace

FIRST, SECOND = "a" * 64, "b" * 64
Runs = Callable[[Workspace], list[Any]]


def left(workspace: Workspace, key: str, *records: Record) -> Path:
    """The journal of a stage that has ended."""
    journal = Journal.begin(workspace, key)
    journal.append(Begin(key=key, name=key[0], experiment=None, params={}, tags={}))
    for record in records:
        journal.append(record)
    journal.release()
    return journal.folder


def with_a_file(workspace: Workspace, key: str, *records: Record) -> Path:
    folder = left(workspace, key, Artifact(folder="reports", file="files/1/a.html"), *records)
    (folder / "files/1").mkdir(parents=True)
    (folder / "files/1/a.html").write_text("report")
    return folder


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(MlflowClient, name, refuse)


def too_large() -> HTTPError:
    answer = Response()
    answer.status_code = 413
    return HTTPError("413 Client Error", response=answer)


OLD_SERVER = RestException({"error_code": "ENDPOINT_NOT_FOUND", "message": "no such endpoint"})
NGINX = MlflowException("API request to endpoint /api/x failed with error code 413 != 200. Response body: '<html>'")
LINEAGE = (Weights(path="p", md5="m", sha256="s"), Summaries(values={"fidelity/fd": 1.0}, model="m"))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("search_logged_models", OLD_SERVER),
        ("log_artifact", too_large()),
        ("log_artifact", RestException({"error_code": "PERMISSION_DENIED", "message": "not you"})),
    ],
)
def test_what_a_store_refuses_is_left_out_and_all_else_is_told(
    workspace: Workspace,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    error: Exception,
) -> None:
    refusing(monkeypatch, name, error)
    with_a_file(workspace, FIRST, *LINEAGE, Points(points=[("train/loss", 1, 0.5)]), End(status="FINISHED"))
    assert len(list(synced(workspace))) == 1
    (run,) = runs(workspace)
    assert (run.data.metrics, run.info.status) == ({"fidelity/fd": 1.0, "train/loss": 0.5}, "FINISHED")
    err = capsys.readouterr().err
    assert (err.count("\n"), err.count("warning: MLflow refuses a record (")) == (1, 1)
    assert waiting(workspace) == []


def test_a_batch_of_points_that_is_too_large_is_told_in_parts(
    workspace: Workspace, runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_batch = MlflowClient.log_batch

    def small_only(client: Any, run_id: str, metrics: Any = (), **others: Any) -> None:
        if len(metrics) > 2:
            raise NGINX
        log_batch(client, run_id, metrics=metrics, **others)

    monkeypatch.setattr(MlflowClient, "log_batch", small_only)
    points = [[("train/loss", step, 1.0), ("train/lr", step, 1.0)] for step in range(3)]
    left(workspace, FIRST, *(Points(points=each) for each in points))
    list(synced(workspace))
    (run,) = runs(workspace)
    assert len(open_store(workspace).client.get_metric_history(run.info.run_id, "train/lr")) == 3
    assert capsys.readouterr().err == ""


def test_a_store_that_lets_nobody_write_gets_all_of_it_later(
    workspace: Workspace, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(workspace, FIRST, Tags(values={"a": "b"}))
    with monkeypatch.context() as patch:
        refusing(patch, "log_batch", RestException({"error_code": "PERMISSION_DENIED", "message": "not you"}))
        with pytest.raises(TryAgainError, match="not you"):
            list(synced(workspace))
    list(synced(workspace))
    assert runs(workspace)[0].data.tags["a"] == "b"


def test_artifacts_whose_store_lacks_a_package_wait_alone(
    workspace: Workspace, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_file(workspace, FIRST, End(status="FAILED"))
    left(workspace, FIRST, End(status="FINISHED"))
    lines = []
    with monkeypatch.context() as patch:
        refusing(patch, "log_artifact", ModuleNotFoundError("No module named 'boto3'"))
        with pytest.raises(TryAgainError, match="No module named 'boto3'"):
            lines += synced(workspace)
        assert [run.info.status for run in runs(workspace)] == ["FINISHED"]
        assert len(waiting(workspace)) == 1
    assert [line.split(": ")[1].split(" to ")[0] for line in synced(workspace)] == ["1 records"]
    artifacts = workspace.tracking_artifacts / runs(workspace)[0].info.run_id / "artifacts"
    assert (artifacts / "reports/a.html").read_text() == "report"
    assert [run.info.status for run in runs(workspace)] == ["FINISHED"]
    assert waiting(workspace) == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OLD_SERVER, True),
        (NGINX, True),
        (too_large(), True),
        (MlflowException("API request to endpoint /x failed with error code 429 != 200. Response body: ''"), False),
        (MlflowException("API request to endpoint /x failed with error code 502 != 200. Response body: ''"), False),
        (RestException({"error_code": "UNAUTHENTICATED", "message": "who?"}), False),
        (MlflowException("API request to http://x failed with exception Connection refused"), False),
        (ConnectionError("refused"), False),
    ],
)
def test_a_refusal_is_told_from_what_may_pass(error: Exception, expected: bool) -> None:
    assert is_refused(error) is expected


def test_a_journal_without_a_beginning_is_dropped_and_the_next_is_told(
    workspace: Workspace, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = left(workspace, FIRST, Points(points=[("train/loss", 1, 1.0)]))
    (folder / "records.jsonl").write_bytes(b"\0" + (folder / "records.jsonl").read_bytes()[1:])
    left(workspace, SECOND)
    assert len(list(synced(workspace))) == 2
    assert [run.info.run_name for run in runs(workspace)] == ["b"]
    assert capsys.readouterr().err.startswith(f"warning: {folder} has no beginning that can be read ")
    assert waiting(workspace) == []


@pytest.mark.parametrize("fault", ["unreadable", "refused"])
def test_a_journal_that_can_not_be_told_holds_back_none_of_another_key(
    workspace: Workspace, runs: Runs, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    folder = left(workspace, FIRST)
    left(workspace, SECOND)
    if fault == "unreadable":
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "records.jsonl").mkdir()
    else:
        begun = MlflowClient.create_run

        def create_run(*arguments: Any, run_name: str, **others: Any) -> Any:
            if run_name == "a":
                raise RestException({"error_code": "INTERNAL_ERROR", "message": "no"})
            return begun(*arguments, run_name=run_name, **others)

        monkeypatch.setattr(MlflowClient, "create_run", create_run)
    with pytest.raises(TryAgainError, match="can't be told now"):
        list(synced(workspace))
    assert [run.info.run_name for run in runs(workspace)] == ["b"]
    assert waiting(workspace) == [folder]


def test_journals_that_can_not_be_listed_are_one_line(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.state.mkdir()
    workspace.journal.write_text("no folder")
    monkeypatch.chdir(workspace.root)
    assert main() == 2
    assert capsys.readouterr().err == f"sync: {workspace.journal} can't be read: Not a directory\n"


def test_a_stage_tells_of_itself_beside_an_unreadable_journal_of_its_key(
    params: Params, workspace: Workspace, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_run(params, workspace, "train") as run:
        key = run._journal.folder.name.rpartition("-")[2]
    (workspace.journal / f"20010101T000000.000000-{key}" / "records.jsonl").mkdir(parents=True)
    with open_run(params, workspace, "train") as run:
        run.tell(Tags(values={"a": "b"}))
    assert runs(workspace)[0].data.tags["a"] == "b"
    assert len(waiting(workspace)) == 1
    assert capsys.readouterr().err.count("Is a directory") == 1


def test_a_stage_waits_for_who_tells_of_an_earlier_one_and_not_for_a_stage_beside_it(
    params: Params, workspace: Workspace, runs: Runs
) -> None:
    key = content_key(params, workspace)
    with open_run(params, workspace, "train") as run:
        beside = run._journal
        # The journal of a stage that runs beside it.
        with open_run(params, workspace, "survey"):
            pass
        assert waiting(workspace) == [beside.folder]
    folder = left(workspace, key, End(status="FAILED"))
    done = threading.Event()

    def sync() -> None:
        with held(workspace, folder) as journal:
            assert journal
            done.set()
            time.sleep(0.5)
            Delivery(journal, workspace).advance()
            journal.remove()

    thread = threading.Thread(target=sync)
    thread.start()
    done.wait()
    with open_run(params, workspace, "register") as run:
        run.finish_stage("register")
    thread.join()
    assert runs(workspace)[0].info.status == "FINISHED"
    assert waiting(workspace) == []


def test_an_end_that_comes_while_the_sender_looks_is_not_slept_through(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class News(threading.Event):
        def clear(self) -> None:
            made[1].set()
            self.set()
            super().clear()

    made: list[threading.Event] = []

    def event() -> threading.Event:
        made.append(threading.Event() if made else News())
        return made[-1]

    monkeypatch.setattr(sender, "threading", SimpleNamespace(Event=event, Lock=threading.Lock, Thread=threading.Thread))
    monkeypatch.setattr(Delivery, "advance", lambda _: 0)
    sending = Sender(Journal.begin(workspace, FIRST), workspace, FIRST)
    sending._thread.join(5)
    assert not sending._thread.is_alive()
