"""Whatever happens to MLflow, its database or its server: the stage trains, warns once, and MLflow has it all later.

Cases 16 (database read-only or locked), 17 (server down, hanging, dying), 18 (four at once), 54 (secrets).
"""

import ctypes
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from rediffuse.errors import LeavingError, TryAgainError
from rediffuse.leaving import stay, watched
from rediffuse.params import Params, load_params
from rediffuse.tracking import open_run
from rediffuse.tracking.journal import held, waiting
from rediffuse.tracking.store import EXPERIMENT, open_store
from rediffuse.tracking.sync import main, synced
from rediffuse.workspace import Workspace

CHECKOUT = Path(__file__).resolve().parents[2]
STEPS = list(range(1, 41))

# A stage without a network: what it writes is a function of its parameters, and it tells of it as train does.
STAGE = """
import sys
from rediffuse.stage import run_stage

def train(params, workspace, run):
    rows = [{"step": step, "loss": params.train.lr / step} for step in range(1, 41)]
    for last in (20, 40):
        run.log_curve(rows[:last])
        run.log_timing(last, {"examples_per_second": 1.0})
    run.log_image("step-40.png", b"preview")
    workspace.plot("training").parent.mkdir(exist_ok=True)
    workspace.plot("training").write_text("step,loss\\n" + "".join(f"{row['step']},{row['loss']}\\n" for row in rows))
    return {}

def register(params, workspace):
    workspace.report.parent.mkdir(exist_ok=True)
    workspace.report.write_text("report")
    return {}

if __name__ == "__main__":
    run_stage(globals()[sys.argv[1]], live=sys.argv[1] == "train")
"""
DAG = """stages:
  train: {cmd: train, deps: [params.yaml], plots: [plots/training.csv]}
  evaluate: {cmd: evaluate, deps: [plots/training.csv], outs: [reports/report.html]}
  register: {cmd: register, deps: [reports/report.html], metrics: [metrics/register.json]}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").write_text(DAG)
    (tmp_path / "pipeline.py").write_text(STAGE)
    return Workspace.at(tmp_path)


@pytest.fixture
def params(workspace: Workspace) -> Params:
    return load_params(workspace.params)


def run_stage(workspace: Workspace, stage: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A stage in a process of its own, as DVC starts it."""
    return subprocess.run(
        [sys.executable, "pipeline.py", stage],
        cwd=workspace.root,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def tell_all(params: Params, workspace: Workspace, stage: str = "register") -> None:
    """What a whole stage tells, in this process."""
    with open_run(params, workspace, stage) as run:
        run.log_curve([{"step": step, "loss": params.train.lr / step} for step in STEPS])
        run.log_image("step-40.png", b"preview")
        run.finish_stage(stage)


def check_told_once(client: Any, name: str = EXPERIMENT, **wanted: str) -> Any:
    """One run has these parameters; it is FINISHED, and has each point once."""
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id])
    (run,) = [run for run in found if wanted.items() <= run.data.params.items()]
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(point.step for point in points) == STEPS
    for metric in run.data.metrics:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, metric)]
        assert len(steps) == len(set(steps)), metric
    assert [item.path for item in client.list_artifacts(run.info.run_id, "previews")] == ["previews/step-40.png"]
    return run


def check_one_warning(stderr: str, *reasons: str) -> None:
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith("warning: MLflow at ")
    assert any(reason in stderr for reason in reasons), stderr
    assert "it is kept in .pipeline/journal, and `make sync` brings it there" in stderr


# Case 16


@contextmanager
def locked(workspace: Workspace) -> Iterator[None]:
    with closing(sqlite3.connect(workspace.tracking_database)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def corrupt(workspace: Workspace) -> Iterator[None]:
    whole = workspace.tracking_database.read_bytes()
    workspace.tracking_database.write_bytes(b"not a database, and long enough to have a header" * 50)
    yield
    workspace.tracking_database.write_bytes(whole)


@contextmanager
def a_folder(workspace: Workspace) -> Iterator[None]:
    whole = workspace.tracking_database.read_bytes()
    workspace.tracking_database.unlink()
    workspace.tracking_database.mkdir()
    yield
    workspace.tracking_database.rmdir()
    workspace.tracking_database.write_bytes(whole)


@contextmanager
def deleted_experiment(workspace: Workspace) -> Iterator[None]:
    store = open_store(workspace)
    store.client.delete_experiment(store.experiment_id)
    yield
    store.client.restore_experiment(store.experiment_id)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (locked, "database is locked"),
        (corrupt, "file is not a database"),
        (a_folder, "unable to open database file"),
        (deleted_experiment, "is deleted; bring it back with `mlflow experiments restore"),
    ],
)
def test_a_database_that_can_not_be_used_is_one_warning_a_stage_and_sync_tells_it_later(
    params: Params,
    workspace: Workspace,
    empty_database: Path,
    capfd: pytest.CaptureFixture[str],
    broken: Callable[[Workspace], Any],
    why: str,
) -> None:
    shutil.copy(empty_database, workspace.tracking_database)
    workspace.report.parent.mkdir()
    workspace.report.write_text("report")
    with broken(workspace):
        for stage in ("train", "register"):
            tell_all(params, workspace, stage)
            check_one_warning(capfd.readouterr().err, why)
        with pytest.raises(TryAgainError, match=f"can't be told now .*{why}"):
            list(synced(workspace))
    # What a later experiment writes is not what this run is told.
    workspace.report.write_text("of another experiment")
    assert len(list(synced(workspace))) == 2
    assert capfd.readouterr().err == ""
    run = check_told_once(open_store(workspace).client)
    report = Path(run.info.artifact_uri.removeprefix("file://")) / "reports" / "report.html"
    assert report.read_text() == "report"
    assert list(synced(workspace)) == ["MLflow has all that was told: .pipeline/journal is empty"]


def _obey_modes() -> None:
    """In a child of root: give up the right to write what a mode forbids."""
    if os.geteuid() == 0:
        drop, dac_override = 24, 1
        if ctypes.CDLL(None).prctl(drop, dac_override, 0, 0, 0) != 0:
            raise PermissionError


@pytest.mark.parametrize(("of_file", "of_folder"), [(0o444, 0o555), (0o444, 0o755)])
def test_a_read_only_database_costs_a_stage_nothing(
    workspace: Workspace,
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    of_file: int,
    of_folder: int,
) -> None:
    store = tmp_path_factory.mktemp("store")
    shutil.copy(empty_database, store / "mlflow.db")
    (store / "mlflow.db").chmod(of_file)
    store.chmod(of_folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    try:
        ended = run_stage(workspace, "train", preexec_fn=_obey_modes)
    except subprocess.SubprocessError:
        pytest.skip("root can't give up its rights here")
    finally:
        store.chmod(0o755)
        (store / "mlflow.db").chmod(0o644)
    assert (ended.returncode, ended.stdout) == (0, "")
    check_one_warning(ended.stderr, "readonly database", "unable to open database file")
    assert workspace.plot("training").read_text().splitlines()[:2] == ["step,loss", "1,0.002"]
    # The preview is copied in the journal, and the curve is there once.
    assert [line.split(": ")[1].split(" to ")[0] for line in synced(workspace)] == ["10 records"]
    client = open_store(workspace).client
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == len(STEPS)


# Case 17


SERVE = """
import logging, sys
from mlflow.server import app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()
"""


def free_port() -> int:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        number: int = unused.getsockname()[1]
        return number


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of MLflow's own server, with a database and a folder of artifacts."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    places = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"{folder}/artifacts",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)], env=os.environ | places, stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


class Gate:
    """Stands before the server on a port of its own: it can be closed and opened, and can lose answers."""

    def __init__(
        self, port: int, server: int, *, loses: Callable[[str, str], bool] = lambda method, path: False
    ) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with closing(http.client.HTTPConnection("127.0.0.1", server, timeout=20)) as connection:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                self.close_connection = True
                if loses(self.command, self.path):  # done, and not answered
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def log_message(self, *_: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port nobody listens on; the store is there."""
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    return port


def with_seed(params: Params, seed: int) -> Params:
    """Another run, in the server that these tests share."""
    return params.model_copy(update={"seed": seed})


def test_a_server_that_is_down_at_the_start_gets_the_run_with_its_own_times_when_it_is_up(
    params: Params, workspace: Workspace, mlflow_server: int, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    params = with_seed(params, 171)
    before = int(time.time() * 1000)
    started = time.monotonic()
    for stage in ("train", "register"):
        tell_all(params, workspace, stage)
    # What waits is given a minute.
    assert time.monotonic() - started < 20
    after = int(time.time() * 1000)
    out, err = capfd.readouterr()
    assert (out, err.count("warning: "), err.count("Connection refused")) == ("", 2, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace.root)
        assert main() == 75
    assert capfd.readouterr().err.count("\n") == 1
    time.sleep(0.05)

    with Gate(port, mlflow_server):
        assert [line.split(" records to run ")[0].split(": ")[1].isdigit() for line in synced(workspace)] == [
            True,
            True,
        ]
        client = MlflowClient()
        run = check_told_once(client, seed="171")
        points = client.get_metric_history(run.info.run_id, "train/loss")
        times = [run.info.start_time, run.info.end_time, *(point.timestamp for point in points)]
        assert before <= min(times) <= max(times) <= after
        assert waiting(workspace) == []


def test_a_server_that_dies_in_the_middle_is_told_the_rest_by_the_next_stage(
    params: Params, workspace: Workspace, mlflow_server: int, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    params = with_seed(params, 172)
    rows = [{"step": step, "loss": 1 / step} for step in STEPS]
    with open_run(params, workspace, "train") as run:
        with Gate(port, mlflow_server):
            run.log_curve(rows[:20])
            end = time.monotonic() + 20
            while not run.id and time.monotonic() < end:
                time.sleep(0.02)
            assert run.id
        run.log_curve(rows)
        run.log_image("step-40.png", b"preview")
        run.finish_stage("train")
    check_one_warning(capfd.readouterr().err, "Connection refused", "closed connection", "Connection reset")
    assert len(waiting(workspace)) == 1
    with Gate(port, mlflow_server):
        with open_run(params, workspace, "register") as run:
            run.finish_stage("register")
        assert capfd.readouterr().err == ""
        check_told_once(MlflowClient(), seed="172")
        assert waiting(workspace) == []


def test_a_request_whose_answer_was_lost_is_not_told_twice(
    params: Params, workspace: Workspace, mlflow_server: int, port: int
) -> None:
    from mlflow import MlflowClient

    params = with_seed(params, 173)
    workspace.denoiser.parent.mkdir()
    workspace.denoiser.write_bytes(b"weights")
    workspace.metrics("evaluate").parent.mkdir()
    workspace.metrics("evaluate").write_text('{"fidelity": {"fd": 1.5}}')
    tell_all(params, workspace)  # nobody listens
    lost: set[tuple[str, str]] = set()

    def each_first_change(method: str, path: str) -> bool:
        if method == "GET" or path.endswith("/search") or (method, path) in lost:
            return False
        lost.add((method, path))
        return True

    with Gate(port, mlflow_server, loses=each_first_change):
        attempts = 0
        while waiting(workspace):
            attempts += 1
            assert attempts < 40
            with suppress(TryAgainError):
                list(synced(workspace))
            # Also the note of how far it got is lost.
            for folder in waiting(workspace):
                (folder / "mirror.json").unlink(missing_ok=True)
        assert attempts > 5
        client = MlflowClient()
        run = check_told_once(client, seed="173")
        assert run.data.tags["rediffuse.finished"] == "register"
        models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        assert [model.status.value for model in models] == ["READY"]
        assert len(run.outputs.model_outputs) == 1


@contextmanager
def hanging(port: int) -> Iterator[None]:
    """Takes connections, and never answers."""
    with closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(50)
        yield


def test_a_server_that_hangs_costs_a_stage_its_patience_once(
    params: Params, workspace: Workspace, port: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "6")
    with hanging(port):
        for least, most in ((5.5, 30), (1.5, 5.5)):
            started = time.monotonic()
            tell_all(params, workspace)
            assert least < time.monotonic() - started < most
            check_one_warning(capfd.readouterr().err, "timed out", "no answer within 2 s")


@pytest.mark.parametrize("made", [False, True], ids=["at work", "all is made"])
def test_a_process_that_is_asked_to_leave_does_not_wait_for_a_server_that_hangs(
    params: Params,
    workspace: Workspace,
    port: int,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    made: bool,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    request = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM])
    with hanging(port):
        started = time.monotonic()
        left = nullcontext() if made else pytest.raises(LeavingError, match="interrupted by SIGTERM")
        with left, watched("train"), open_run(params, workspace, "train"):
            if made:
                stay()
            request.start()
            # A stage that has made all goes on to its end.
            time.sleep(0.1 if made else 60)
        assert 2 < time.monotonic() - started < 10
    check_one_warning(capfd.readouterr().err, "no answer within 2 s")


def test_telling_does_not_wait_for_a_server_that_hangs(
    params: Params, workspace: Workspace, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 2001)]
    with hanging(port), open_run(params, workspace, "train") as run:
        started = time.monotonic()
        for last in range(0, 2000, 100):
            run.log_curve(rows[:last])
        assert time.monotonic() - started < 4  # a request waits five


# Case 18

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
while len(list(workspace.root.glob("ready*"))) < int(sys.argv[3]):
    time.sleep(0.01)
with open_run(params, workspace, "register") as run:
    run.finish_stage("register")
"""


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_that_open_a_fresh_store_at_once_all_log(workspace: Workspace, count: int) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT, str(workspace.root), str(seed), str(count)],
            env=os.environ | {"PYTHONPATH": str(CHECKOUT / "src")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(count)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert errors == [""] * count
    store = open_store(workspace)
    found = store.client.search_runs([store.experiment_id])
    assert sorted(run.data.params["seed"] for run in found) == [str(seed) for seed in range(count)]
    assert {run.info.status for run in found} == {"FINISHED"}


# Case 54


def test_no_secret_of_the_environment_is_told(
    workspace: Workspace, empty_database: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {name: f"plAnted-{name}-4711" for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "IN_URI")}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    shutil.copy(empty_database, workspace.tracking_database)
    uri = f"http://me:{secrets['IN_URI']}@127.0.0.1:{port}/?token={secrets['IN_URI']}"
    said = ""
    for stage, address in (("train", uri), ("register", "")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        ended = run_stage(workspace, stage)
        assert ended.returncode == 0
        said += ended.stdout + ended.stderr
        if address:
            check_one_warning(ended.stderr, "Connection refused")
            journals = [path.read_bytes() for path in workspace.journal.rglob("*") if path.is_file()]
            assert any(b"train/loss" in content for content in journals)
            assert not [content for content in journals for value in secrets.values() if value.encode() in content]
    assert waiting(workspace) == []
    kept = [path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()]
    assert any(b"train/loss" in content for content in kept)
    for value in secrets.values():
        assert value not in said
        assert not [content for content in kept if value.encode() in content]


# The journal itself


def test_a_journal_that_can_not_be_written_costs_the_tracking_and_one_line(
    workspace: Workspace, empty_database: Path
) -> None:
    shutil.copy(empty_database, workspace.tracking_database)
    workspace.state.mkdir()
    workspace.journal.write_text("no folder")
    ended = run_stage(workspace, "train")
    assert (ended.returncode, ended.stderr.count("\n")) == (0, 1)
    assert "warning: what stage train tells can't be kept in" in ended.stderr
    assert workspace.plot("training").exists()


def test_a_disk_that_fills_up_while_a_stage_runs_costs_what_was_told_then(
    params: Params,
    workspace: Workspace,
    empty_database: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(empty_database, workspace.tracking_database)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with open_run(params, workspace, "register") as run:
        with monkeypatch.context() as patch:
            patch.setattr("rediffuse.tracking.journal.os.write", full)
            run.log_timing(20, {"examples_per_second": 1.0})
            run.log_timing(40, {"examples_per_second": 1.0})
        run.finish_stage("register")
    err = capfd.readouterr().err
    assert (err.count("\n"), err.count("No space left on device")) == (1, 1)
    store = open_store(workspace)
    assert [found.info.status for found in store.client.search_runs([store.experiment_id])] == ["FINISHED"]


def test_a_journal_told_again_from_its_beginning_changes_nothing(
    params: Params, workspace: Workspace, empty_database: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_all(params, workspace)  # nobody listens
    shutil.copy(empty_database, workspace.tracking_database)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (folder,) = waiting(workspace)
    kept = shutil.copytree(folder, workspace.root / "kept")
    list(synced(workspace))
    client = open_store(workspace).client
    before = check_told_once(client)
    kept.rename(folder)
    assert len(list(synced(workspace))) == 1
    after = check_told_once(client)
    assert after.to_dictionary() == before.to_dictionary()


def test_a_journal_that_a_stage_writes_is_left_to_it(params: Params, workspace: Workspace, port: int) -> None:
    tell_all(params, workspace)
    (folder,) = waiting(workspace)
    with held(workspace, folder):
        assert list(synced(workspace)) == [f"{folder.name}: a stage that runs now writes it"]
    assert json.loads((folder / "records.jsonl").read_bytes().splitlines()[-1])["status"] == "FINISHED"
