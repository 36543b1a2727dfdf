"""What lands in MLflow, over stages, processes, kills and repetitions. A new `open_run` stands for a new process."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rediffuse import files
from rediffuse.errors import TryAgainError, VerdictError
from rediffuse.params import Params
from rediffuse.provenance.made import read_environment
from rediffuse.stage import run_stage
from rediffuse.tracking import open_run, tables
from rediffuse.tracking.journal import waiting
from rediffuse.tracking.names import summary_names
from rediffuse.tracking.records import Summaries
from rediffuse.tracking.store import open_store
from rediffuse.workspace import Workspace
from tests.tracking.evaluated import evaluated

CHECKOUT = Path(__file__).resolve().parents[2]
Runs = Callable[[Workspace], list[Any]]
Written = Callable[[Workspace], Workspace]


def history(workspace: Workspace, run: Any, name: str) -> list[tuple[int, float]]:
    points = open_store(workspace).client.get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it becomes true: MLflow is told by a thread of its own."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def finish(params: Params, workspace: Workspace) -> str:
    with open_run(params, workspace, "register") as run:
        run.finish_stage("register")
    return run.id


def test_a_verdict_that_is_not_met_fails_the_run_with_all_that_the_stage_wrote(
    workspace: Workspace,
    runs: Runs,
    written: Written,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def evaluate(params: Params, workspace: Workspace) -> dict[str, Any]:
        written(workspace)
        files.write_json(workspace.metrics("evaluate"), evaluated(fd=1.5))
        raise VerdictError("the verdicts of evaluate.fail_on are not met: memorisation")

    monkeypatch.chdir(workspace.root)
    with pytest.raises(SystemExit) as ended:
        run_stage(evaluate)
    assert ended.value.code == 2
    assert capfd.readouterr().err == "stage evaluate: the verdicts of evaluate.fail_on are not met: memorisation\n"
    (run,) = runs(workspace)
    assert run.info.status == "FAILED"
    assert run.data.metrics["fidelity/fd"] == 1.5
    assert run.data.tags["verdict.memorisation"] == "not met"
    artifacts = workspace.tracking_artifacts / run.info.run_id / "artifacts"
    assert (artifacts / "reports" / "report.html").read_text() == "report"
    assert (artifacts / "tables" / "verdicts.json").exists()
    # No stage follows that would tell of those before.
    assert run.data.metrics["train/final_val_loss"] == 0.5
    outs = {"reports/report.html": files.md5(workspace.report), "metrics/evaluate.json": ""}
    outs["metrics/evaluate.json"] = files.md5(workspace.metrics("evaluate"))
    assert read_environment(workspace, "evaluate", outs) is not None


def test_a_new_run_holds_every_tracked_parameter_and_runtime_as_tags(
    params: Params, workspace: Workspace, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "lucky-fox")
    with open_run(params, workspace, "prepare"):
        pass
    (run,) = runs(workspace)
    assert run.data.params["train.lr"] == "0.002"
    assert run.data.params["model.unet.multipliers"] == json.dumps(list(params.model.unet.multipliers))
    assert run.data.params["clean.size"] == "null"
    assert not [name for name in run.data.params if name.startswith("runtime")]
    assert run.data.tags["runtime.device"] == "auto"
    assert run.data.tags["dvc.experiment"] == run.info.run_name == "lucky-fox"
    assert run.data.tags["dvc.root"] == str(workspace.home)
    assert run.info.status == "RUNNING"


def test_without_an_experiment_the_run_is_named_by_what_it_trains(
    params: Params, workspace: Workspace, runs: Runs
) -> None:
    with open_run(params, workspace, "prepare"):
        pass
    (run,) = runs(workspace)
    assert run.info.run_name == f"digits-unet-edm-{run.data.tags['rediffuse.key'][:8]}"


def test_a_retry_under_another_name_goes_on_in_the_same_run(
    params: Params, workspace: Workspace, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with open_run(params, workspace, "train"):
            pass
    (run,) = runs(workspace)
    assert run.info.run_name == run.data.tags["dvc.experiment"] == "second"


def test_the_commit_of_the_checkout_is_a_tag(params: Params, workspace: Workspace, runs: Runs) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(workspace.root)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    with open_run(params, workspace, "train"):
        pass
    (run,) = runs(workspace)
    assert run.data.tags["mlflow.source.git.commit"] == head


def test_a_finished_run_is_left_alone_by_the_next_one_with_its_key(
    params: Params, workspace: Workspace, runs: Runs
) -> None:
    first = finish(params, workspace)
    second = finish(params, workspace)
    assert [run.info.run_id for run in runs(workspace)] == [second, first]
    assert {run.info.status for run in runs(workspace)} == {"FINISHED"}


def test_other_parameters_make_another_run(params: Params, workspace: Workspace, runs: Runs) -> None:
    for seed in (0, 1):
        with open_run(params.model_copy(update={"seed": seed}), workspace, "train"):
            pass
    assert sorted(run.data.params["seed"] for run in runs(workspace)) == ["0", "1"]


def test_a_failed_run_says_so_and_is_continued(params: Params, workspace: Workspace, runs: Runs) -> None:
    with pytest.raises(ZeroDivisionError), open_run(params, workspace, "train"):
        _ = 1 / 0
    assert [run.info.status for run in runs(workspace)] == ["FAILED"]
    with open_run(params, workspace, "train"):
        assert eventually(lambda: [run.info.status for run in runs(workspace)] == ["RUNNING"])


def test_to_be_asked_to_try_again_is_no_failure(params: Params, workspace: Workspace, runs: Runs) -> None:
    with pytest.raises(TryAgainError), open_run(params, workspace, "train"):
        raise TryAgainError("another process trains this model")
    assert [run.info.status for run in runs(workspace)] == ["RUNNING"]


def test_curves_skip_the_steps_that_an_earlier_process_logged(
    params: Params, workspace: Workspace, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"step": step, "loss": 1.0 / step} for step in range(1, 1501)]
    with open_run(params, workspace, "train") as run:
        run.log_curve(rows[:1200])
        run.log_timing(1, {"examples_per_second": 100.0})
    with open_run(params, workspace, "train") as run:
        run.log_curve([*rows[1000:], {"step": 1500, "val_loss": 0.5}])
        run.log_curve(rows[1000:])
        run.log_timing(1, {"examples_per_second": 50.0})
    (found,) = runs(workspace)
    assert history(workspace, found, "train/loss") == [(row["step"], row["loss"]) for row in rows]
    assert history(workspace, found, "train/val_loss") == [(1500, 0.5)]
    assert history(workspace, found, "timing/examples_per_second") == [(1, 100.0)]
    assert "rediffuse.diverged" not in found.data.tags
    assert capsys.readouterr().err == ""


def test_a_run_that_somebody_deletes_meanwhile_is_told_again_as_a_new_one(
    params: Params, workspace: Workspace, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_run(params, workspace, "train") as run:
        run.log_curve([{"step": 1, "loss": 0.5}])
        assert eventually(lambda: run.id is not None)
        deleted = run.id
        open_store(workspace).client.delete_run(deleted)
        run.log_curve([{"step": 2, "loss": 0.25}])
    (found,) = runs(workspace)
    assert found.info.run_id == run.id != deleted
    assert history(workspace, found, "train/loss") == [(1, 0.5), (2, 0.25)]
    assert found.data.params["train.lr"] == "0.002"
    assert capsys.readouterr().err == ""


def test_a_record_that_mlflow_never_takes_is_left_out_and_what_comes_after_is_told(
    params: Params, workspace: Workspace, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_run(params, workspace, "train") as run:
        run.tell(Summaries(values={"what?": 1.0}))
        run.tell(Summaries(values={"split/train": 7.0}))
    (found,) = runs(workspace)
    assert found.data.metrics == {"split/train": 7.0}
    assert capsys.readouterr().err.startswith("warning: MLflow refuses a record (summaries: ")
    assert waiting(workspace) == []


def test_a_replay_that_computes_something_else_is_told(
    params: Params, workspace: Workspace, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    for loss in (0.5, 0.5001, 0.6):
        with open_run(params, workspace, "train") as run:
            run.log_curve([{"step": 20, "loss": loss}, {"step": 40, "loss": loss}])
    (found,) = runs(workspace)
    assert found.data.tags["rediffuse.diverged"] == "train/loss at step 20 was 0.5 and is now 0.6"
    assert capsys.readouterr().err.count("\n") == 1


def test_a_preview_of_the_same_name_is_replaced(params: Params, workspace: Workspace) -> None:
    with open_run(params, workspace, "train") as run:
        run.log_image("step-20.png", b"old")
        run.log_image("step-20.png", b"new")
    path = workspace.tracking_artifacts / run.id / "artifacts" / "previews" / "step-20.png"
    assert path.read_bytes() == b"new"


def test_a_document_is_an_artifact_of_json(params: Params, workspace: Workspace) -> None:
    with open_run(params, workspace, "train") as run:
        run.log_document("non-finite/step 7", {"ids": [3, 1], "loss": float("nan")})
    folder = workspace.tracking_artifacts / run.id / "artifacts" / "documents"
    text = (folder / "non-finite_step 7.json").read_text()
    assert text == '{\n  "ids": [\n    3,\n    1\n  ],\n  "loss": NaN\n}\n'


def test_the_run_begins_and_ends_when_it_was_told(
    params: Params, workspace: Workspace, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rediffuse.tracking.journal.time.time", lambda: 1_600_000_000.5)
    finish(params, workspace)
    (run,) = runs(workspace)
    assert (run.info.start_time, run.info.end_time) == (1_600_000_000_500, 1_600_000_000_500)


def test_the_last_stage_logs_for_all_that_dvc_took_from_its_cache(
    params: Params, workspace: Workspace, written: Written, runs: Runs
) -> None:
    finish(params, written(workspace))
    (run,) = runs(workspace)
    expected = {
        "split/train": 7,
        "train/final_steps": 40,
        "train/final_val_loss": 0.5,
        "train/final_val_loss_ema": 0.25,
        "train/loss": 0.25,
        "train/lr": 0.002,
        "train/val_loss": 0.5,
        "train/val_loss_ema": 0.25,
        "fidelity/fd": 1.5,
        "utility/cas_accuracy": 0.9,
        "evaluate/n_samples": 8,
        "register/value": 1.5,
    }
    assert {name: value for name, value in run.data.metrics.items() if not name.startswith("timing/")} == expected
    assert [name for name in run.data.metrics if name.startswith("timing/")] == ["timing/register_seconds"]
    assert history(workspace, run, "train/loss") == [(20, 0.5), (40, 0.25)]
    artifacts = workspace.tracking_artifacts / run.info.run_id / "artifacts"
    assert sorted(path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*.*")) == [
        "data/data.html",
        "data/flow.png",
        "plots/training.csv",
        "plots/validation.csv",
        "reports/report.html",
        "samples/film.png",
        "samples/grid.png",
        "tables/figures.json",
        "tables/scores.json",
    ]
    assert {run.data.tags[f"stage.{name}"] for name in ("survey", "train", "evaluate")} == {"cached"}
    assert run.data.tags["stage.register"] == "ran"
    assert "stage.other" not in run.data.tags
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("last", ["evaluate", "other"])
def test_the_scores_keep_their_names_their_model_and_their_tables_whatever_stage_is_the_last(
    params: Params, workspace: Workspace, written: Written, runs: Runs, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setattr("rediffuse.tracking.run.LAST_STAGE", last)
    written(workspace)
    files.write_json(workspace.metrics("evaluate"), evaluated())
    files.write_json(workspace.metrics("other"), {"rows": 3})
    for stage in ("evaluate", "other"):
        if stage == "evaluate" or last == "other":
            with open_run(params, workspace, stage) as run:
                run.finish_stage(stage)
    (found,) = runs(workspace)
    named = summary_names("evaluate", evaluated())
    assert {name: found.data.metrics.get(name) for name in named} == named
    assert found.data.metrics.get("other/rows") == (3 if last == "other" else None)
    assert found.data.tags["protocol.fidelity.neighbours"] == "3"
    assert found.data.tags["verdict.memorisation"] == "not met"
    assert found.info.status == "FINISHED"
    store = open_store(workspace)
    (model,) = store.client.search_logged_models([store.experiment_id])
    assert {metric.key: metric.value for metric in model.metrics} == named
    assert sum("scores" in each["path"] for each in json.loads(found.data.tags["mlflow.loggedArtifacts"])) == 1


def test_mlflow_finds_the_tables_of_a_run_and_their_pictures_and_has_each_row_once(
    params: Params, workspace: Workspace, written: Written, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow's load_table asks the store of the process, whichever client it is called of.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.tracking_database}")
    written(workspace)
    pipeline = workspace.pipeline.read_text()
    pipeline = pipeline.replace(
        "[reports/report.html]\n    m", "[reports/card.md, reports/figures, samples/raw.npy]\n    m"
    )
    workspace.pipeline.write_text(pipeline)
    for name in ("reports/card.md", "reports/figures/curve.png", "samples/raw.npy"):
        files.write_bytes(workspace.root / name, b"made")
    files.write_json(workspace.metrics("evaluate"), evaluated())
    run_id = finish(params, workspace)
    assert [item.path for item in open_store(workspace).client.list_artifacts(run_id, "reports")] == [
        "reports/card.md",
        "reports/figures",
    ]
    store = open_store(workspace)
    # A table of somebody else's, and then all again, as after a kill before the end.
    store.client.log_table(run_id, {"mine": [1]}, "mine.json")
    store.client.update_run(run_id, status="FAILED")
    assert finish(params, workspace) == run_id
    (run,) = runs(workspace)
    listed = [each["path"] for each in json.loads(run.data.tags["mlflow.loggedArtifacts"])]
    names = ("scores", "by_class", "controls", "verdicts", "figures")
    assert sorted(listed) == sorted(["mine.json", *(f"tables/{name}.json" for name in names)])
    table = store.client.load_table(store.experiment_id, "tables/scores.json", run_ids=[run_id])
    evaluate = files.read_json(workspace.metrics("evaluate"))
    # Pandas reads the last digit otherwise than it stands there.
    assert table["value"].tolist() == pytest.approx([row[1] for row in tables.scores(evaluate).rows], rel=1e-12)
    shown = store.client.load_table(store.experiment_id, "tables/figures.json", run_ids=[run_id])
    assert shown["figure"].tolist() == ["film", "grid", "curve"]
    for cell in shown["picture"]:
        assert cell["type"] == "image"
        assert (workspace.tracking_artifacts / run_id / "artifacts" / cell["filepath"]).is_file()


def test_tags_hold_the_md5_of_each_out_of_this_run(
    params: Params, workspace: Workspace, written: Written, runs: Runs
) -> None:
    finish(params, written(workspace))
    tags = runs(workspace)[0].data.tags
    assert tags["out.data/clean"] == "aaaa.dir"
    assert tags["out.reports/data"] == "dddd.dir"
    assert tags["out.models/denoiser.safetensors"] == "bbbb"
    assert tags["out.reports/report.html"] == "eeee"
    # The entry of the running stage in dvc.lock is the one of the run before.
    assert tags["out.metrics/register.json"] == files.md5(workspace.metrics("register"))
    assert "out.other.txt" not in tags


def test_the_data_are_inputs_whose_digest_names_the_cleaned_data_and_the_split(
    params: Params, workspace: Workspace, written: Written, runs: Runs
) -> None:
    finish(params, written(workspace))
    inputs = runs(workspace)[0].inputs.dataset_inputs
    assert {entry.tags[0].value: entry.dataset.name for entry in inputs} == {
        "train": "digits-train",
        "val": "digits-val",
        "test": "digits-test",
    }
    split = hashlib.md5(b"split").hexdigest()
    assert {entry.dataset.digest for entry in inputs} == {f"0123456789abcdef-{split[:16]}"}


def test_the_model_points_at_the_weights_and_carries_the_scores(
    params: Params, workspace: Workspace, written: Written, runs: Runs
) -> None:
    finish(params, written(workspace))
    (run,) = runs(workspace)
    store = open_store(workspace)
    (model,) = store.client.search_logged_models([store.experiment_id])
    assert model.name == "denoiser"
    assert model.source_run_id == run.info.run_id
    assert model.status.value == "READY"
    assert model.tags["path"] == "models/denoiser.safetensors"
    assert model.tags["md5"] == hashlib.md5(b"weights").hexdigest()
    assert model.tags["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert {metric.key: metric.value for metric in model.metrics}["fidelity/fd"] == 1.5
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert history(workspace, run, "fidelity/fd") == [(0, 1.5)]


def test_a_stage_repeated_in_an_unfinished_run_leaves_everything_once(
    params: Params, workspace: Workspace, written: Written, runs: Runs
) -> None:
    written(workspace)
    for _ in range(2):
        for stage in ("split", "train", "sample"):
            with open_run(params, workspace, stage) as run:
                run.finish_stage(stage)
    store = open_store(workspace)
    finish(params, workspace)
    store.client.update_run(run.id, status="FAILED")  # as if the last one had been killed before its end
    finish(params, workspace)

    (found,) = runs(workspace)
    names = [name for name in found.data.metrics if not name.startswith("timing/")]
    for name in names:
        steps = [step for step, _ in history(workspace, found, name)]
        assert len(steps) == len(set(steps)), name
    assert history(workspace, found, "train/final_val_loss") == [(0, 0.5)]
    assert history(workspace, found, "fidelity/fd") == [(0, 1.5)]
    assert [step for step, _ in history(workspace, found, "timing/train_seconds")] == [0, 1]
    assert len(found.inputs.dataset_inputs) == 3
    assert len(store.client.search_logged_models([store.experiment_id])) == 1
    assert len(found.outputs.model_outputs) == 1
    assert found.data.tags["stage.train"] == "ran"


def test_a_summary_that_has_changed_is_the_next_step(
    params: Params, workspace: Workspace, written: Written, runs: Runs
) -> None:
    written(workspace)
    for value in (1, 1, 3, 2):
        (workspace.root / "metrics" / "split.json").write_text(f'{{"train": {value}}}')
        with open_run(params, workspace, "split") as run:
            run.finish_stage("split")
    (found,) = runs(workspace)
    assert history(workspace, found, "split/train") == [(0, 1), (1, 3), (2, 2)]
    assert found.data.metrics["split/train"] == 2


def test_a_class_of_any_name_can_be_logged(params: Params, workspace: Workspace, runs: Runs) -> None:
    weights = params.sample.model_copy(update={"classes": {"T-shirt/top (new)": 1.0, "..": 2.0}})
    (workspace.root / "metrics").mkdir()
    workspace.metrics("evaluate").write_text('{"utility": {"f1": {"a/../b?": 0.5, "..": 1}}}')
    finish(params.model_copy(update={"sample": weights}), workspace)
    (run,) = runs(workspace)
    assert run.data.params["sample.classes.T-shirt_top _new_"] == "1.0"
    assert run.data.metrics["utility/f1/a_.._b_"] == 0.5
    assert run.data.metrics["utility/f1/_"] == 1


def test_an_experiment_in_a_temporary_folder_leaves_everything_at_home(
    params: Params, workspace: Workspace, written: Written, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = Workspace(root=tmp_path / "tmpX", home=workspace.home)
    shutil.copytree(written(workspace).root, temporary.root, ignore=shutil.ignore_patterns("mlflow.db"))
    monkeypatch.chdir(temporary.root)
    run_id = finish(params, temporary)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(temporary.root)
    (run,) = runs(workspace)
    assert run.info.run_id == run_id
    assert run.info.artifact_uri == f"file://{workspace.home}/mlartifacts/{run_id}/artifacts"
    assert (workspace.home / "mlartifacts" / run_id / "artifacts" / "reports" / "report.html").read_text() == "report"


STAGES = """
import os, signal, sys, time
from rediffuse.stage import run_stage

def train(params, workspace, run):
    last = int(sys.argv[2])
    run.log_curve([{"step": step, "loss": 1.0 / step} for step in range(1, last + 1)])
    if last < 40:
        while not run.id:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return {}

def register(params, workspace):
    return {}

if __name__ == "__main__":
    run_stage(globals()[sys.argv[1]], live=sys.argv[1] == "train")
"""


def test_stages_in_their_own_processes_one_of_them_killed_make_one_run(workspace: Workspace, runs: Runs) -> None:
    (workspace.root / "pipeline.py").write_text(STAGES)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "pipeline.py", *arguments],
            cwd=workspace.root,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("train", "20").returncode == -signal.SIGKILL
    assert [found.info.status for found in runs(workspace)] == ["RUNNING"]
    assert run("train", "40").returncode == 0
    last = run("register")
    assert (last.returncode, last.stdout, last.stderr) == (0, "", "")
    (found,) = runs(workspace)
    assert found.info.status == "FINISHED"
    assert [step for step, _ in history(workspace, found, "train/loss")] == list(range(1, 41))
    assert {"timing/train_seconds", "timing/register_seconds"} <= found.data.metrics.keys()
    assert waiting(workspace) == []
