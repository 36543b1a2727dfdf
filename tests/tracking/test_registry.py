"""Versions and the champion in MLflow's registry: made once, replaced only by what is better beyond chance."""

import errno
import shutil
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from rediffuse import files
from rediffuse.params import Params
from rediffuse.tracking import Candidate, mirror, open_run, registry
from rediffuse.tracking.journal import waiting
from rediffuse.tracking.mlflow_run import MlflowRun
from rediffuse.tracking.store import open_store
from rediffuse.tracking.sync import main
from rediffuse.workspace import Workspace

NAME = "rediffuse-digits"
PROTOCOL = {"extractor": "classifier", "digest": "d" * 64, "images": "180"}
Written = Callable[[Workspace], Workspace]


def candidate(value: float | None, reach: float = 0.0, **changes: Any) -> Candidate:
    known = {} if value is None else {"value": value, "low": value - reach, "high": value + reach}
    return Candidate(
        **{
            **{"name": NAME, "alias": "champion", "description": "# A card", "metric": "fidelity.fd"},
            **{"better": "lower", "value": None, "low": None, "high": None, "protocol": PROTOCOL},
            **known,
            **changes,
        }
    )


def save(folder: Path) -> None:
    """Write a model; what is in it does not matter here."""
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "artifacts" / "denoiser.safetensors").write_bytes(b"weights")


def registered(params: Params, workspace: Workspace, of: Candidate, seed: int) -> str:
    """A run with this seed registers its model; MLflow's id of the run."""
    with open_run(params.model_copy(update={"seed": seed}), workspace, "register") as run:
        run.register(of, save)
        run.finish_stage("register")
    return str(run.id)


def client(workspace: Workspace) -> MlflowClient:
    return open_store(workspace).client


def versions(workspace: Workspace) -> list[Any]:
    found = client(workspace).search_model_versions(f"name = '{NAME}'")
    return sorted(found, key=lambda version: int(version.version))


def champion(workspace: Workspace) -> int:
    return int(client(workspace).get_model_version_by_alias(NAME, "champion").version)


def test_the_first_version_is_the_champion_and_tells_what_it_is(
    params: Params, workspace: Workspace, written: Written, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = registered(params, written(workspace), candidate(0.625, 0.125), 0)
    (version,) = versions(workspace)
    assert (int(version.version), version.run_id, version.description) == (1, run_id, "# A card")
    assert version.tags == {
        "rediffuse.md5": files.md5(workspace.denoiser),
        "rediffuse.sha256": files.sha256(workspace.denoiser),
        "rediffuse.metric": "fidelity.fd",
        "rediffuse.better": "lower",
        "rediffuse.value": "0.625",
        "rediffuse.low": "0.5",
        "rediffuse.high": "0.75",
        "rediffuse.protocol.extractor": "classifier",
        "rediffuse.protocol.digest": "d" * 64,
        "rediffuse.protocol.images": "180",
        "rediffuse.protocol.data": f"0123456789abcdef-{files.md5(workspace.split)[:16]}",
    }
    assert champion(workspace) == 1
    folder = workspace.tracking_artifacts / run_id / "artifacts" / "model"
    assert version.source == folder.as_uri()
    assert (folder / "artifacts" / "denoiser.safetensors").read_bytes() == b"weights"
    assert waiting(workspace) == []
    assert capfd.readouterr() == ("registered as version 1 of rediffuse-digits, its first champion\n", "")


@pytest.mark.parametrize(
    ("first", "second", "holder", "said"),
    [
        (
            candidate(0.6, 0.05),
            candidate(0.63, 0.05),
            1,
            "; champion stays version 1: fidelity.fd 0.63 [0.58, 0.68] against 0.6 [0.55, 0.65]",
        ),
        # Better, but the intervals meet.
        (
            candidate(0.6, 0.05),
            candidate(0.51, 0.05),
            1,
            "; champion stays version 1: fidelity.fd 0.51 [0.46, 0.56] against 0.6 [0.55, 0.65]",
        ),
        (
            candidate(0.6, 0.05),
            candidate(0.49, 0.05),
            2,
            ", its new champion after version 1: fidelity.fd 0.49 [0.44, 0.54] against 0.6 [0.55, 0.65]",
        ),
        (
            candidate(0.6, 0.05, better="higher"),
            candidate(0.71, 0.05, better="higher"),
            2,
            ", its new champion after version 1: fidelity.fd 0.71 [0.66, 0.76] against 0.6 [0.55, 0.65]",
        ),
        (
            candidate(0.6, better="higher"),
            candidate(0.5, better="higher"),
            1,
            "; champion stays version 1: fidelity.fd 0.5 against 0.6",
        ),
        (
            candidate(0.6),
            candidate(0.1, protocol=PROTOCOL | {"images": "360"}),
            1,
            "; champion stays version 1, with which it can't be compared: images 360 here, 180 there",
        ),
        (
            candidate(0.6),
            candidate(0.1, protocol=PROTOCOL | {"digest": "e" * 64}),
            1,
            "; champion stays version 1, with which it can't be compared: "
            "digest eeeeeeeeeeee... here, dddddddddddd... there",
        ),
        (
            candidate(0.6),
            candidate(0.1, metric="fidelity.kid"),
            1,
            "; champion stays version 1, with which it can't be compared: metric fidelity.kid here, fidelity.fd there",
        ),
        (candidate(0.6), candidate(None), 1, "; champion stays version 1: this run has no fidelity.fd"),
    ],
)
def test_a_champion_is_replaced_only_by_what_is_better_beyond_both_intervals(
    params: Params,
    workspace: Workspace,
    written: Written,
    capfd: pytest.CaptureFixture[str],
    first: Candidate,
    second: Candidate,
    holder: int,
    said: str,
) -> None:
    written(workspace)
    registered(params, workspace, first, 0)
    capfd.readouterr()
    registered(params, workspace, second, 1)
    assert capfd.readouterr() == (f"registered as version 2 of rediffuse-digits{said}\n", "")
    assert (len(versions(workspace)), champion(workspace)) == (2, holder)


def test_what_has_no_score_is_no_champion_and_who_was_given_the_alias_without_one_is_replaced(
    params: Params, workspace: Workspace, written: Written, capfd: pytest.CaptureFixture[str]
) -> None:
    written(workspace)
    registered(params, workspace, candidate(None), 0)
    registered(params, workspace, candidate(0.6), 1)
    client(workspace).set_registered_model_alias(NAME, "champion", "1")
    registered(params, workspace, candidate(0.9), 2)
    assert capfd.readouterr().out.splitlines() == [
        "registered as version 1 of rediffuse-digits, no champion: this run has no fidelity.fd",
        "registered as version 2 of rediffuse-digits, its first champion",
        "registered as version 3 of rediffuse-digits, its new champion after version 1, which has no fidelity.fd",
    ]
    assert champion(workspace) == 3


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PackageNotFoundError("ruamel.yaml"),
            "warning: not registered: the model can't be written for MLflow (No p",
        ),
        (MlflowException("no signature"), "warning: not registered: the model can't be written for MLflow (no sig"),
        (OSError(errno.ENOSPC, "No space left on device"), "warning: what stage register tells can't be kept in "),
    ],
)
def test_a_model_that_cannot_be_written_costs_its_version_alone(
    params: Params,
    workspace: Workspace,
    written: Written,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    said: str,
) -> None:
    def write(folder: Path) -> None:
        save(folder)
        raise error

    with open_run(params, written(workspace), "register") as run:
        run.register(candidate(0.6), write)
        run.finish_stage("register")
    out, err = capfd.readouterr()
    assert (out, err.count("\n"), err.startswith(said)) == ("", 1, True), err
    assert (versions(workspace), waiting(workspace)) == ([], [])
    assert client(workspace).get_run(run.id).info.status == "FINISHED"


def test_other_data_are_never_compared(
    params: Params, workspace: Workspace, written: Written, capfd: pytest.CaptureFixture[str]
) -> None:
    written(workspace)
    registered(params, workspace, candidate(0.6), 0)
    workspace.split.write_text("another split")
    registered(params, workspace, candidate(0.1), 1)
    assert "with which it can't be compared: data 0123456789ab... here" in capfd.readouterr().out
    assert champion(workspace) == 1


def test_told_twice_it_is_one_version(
    params: Params, workspace: Workspace, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(workspace)
    # The alias can't be given: MLflow has the version, and is told all of it again.
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", refuse)
    registered(params, workspace, candidate(0.6), 0)
    assert len(versions(workspace)) == 1
    monkeypatch.undo()
    (folder,) = waiting(workspace)
    shutil.copytree(folder, workspace.root / "copy")
    for _ in range(2):
        assert main_in(workspace, monkeypatch) == 0
        assert (len(versions(workspace)), champion(workspace)) == (1, 1)
        # As after a kill that lost the note of how far it got, and then without the files that MLflow has.
        shutil.copytree(workspace.root / "copy", folder)
        (folder / "mirror.json").unlink()
        shutil.rmtree(folder / "files")
    assert main_in(workspace, monkeypatch) == 0
    assert (len(versions(workspace)), champion(workspace)) == (1, 1)


def test_two_stages_that_register_one_model_at_once_make_one_version(
    params: Params, workspace: Workspace, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(workspace)
    run_id = registered(params, workspace, candidate(0.6, name="another"), 0)
    record = mirror.registration(workspace, candidate(0.6), "")
    save(workspace.root / "saved")
    search = MlflowClient.search_model_versions

    def slow(*arguments: Any, **options: Any) -> Any:
        found = search(*arguments, **options)
        # Time for the other to look as well, before this one makes a version.
        time.sleep(0.2)
        return found

    monkeypatch.setattr(MlflowClient, "search_model_versions", slow)

    def tell() -> None:
        registry.register(MlflowRun(open_store(workspace), run_id, workspace.root), record, workspace.root / "saved")

    threads = [threading.Thread(target=tell) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version.run_id for version in versions(workspace)] == [run_id]


def test_what_mlflow_is_not_told_now_make_sync_tells(
    params: Params,
    workspace: Workspace,
    written: Written,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    written(workspace)
    away(monkeypatch, workspace)
    registered(params, workspace, candidate(0.6), 0)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "`make sync` brings it there" in err
    monkeypatch.undo()
    assert main_in(workspace, monkeypatch) == 0
    assert "registered as version 1 of rediffuse-digits, its first champion\n" in capfd.readouterr().out
    (version,) = versions(workspace)
    assert champion(workspace) == 1
    folder = workspace.tracking_artifacts / version.run_id / "artifacts" / "model"
    assert (folder / "artifacts" / "denoiser.safetensors").read_bytes() == b"weights"


def refuse(*_: Any, **__: Any) -> None:
    raise MlflowException("API request to endpoint /api/x failed with error code 503 != 200. Response body: ''")


def away(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


def main_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(workspace.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return main()
