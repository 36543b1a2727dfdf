"""`dvc repro` on tiny data: what it leaves, that it repeats itself, and what MLflow knows of it."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.stage import run_stage
from stages.train import train
from tests.repository import Repository

OUTS = (
    "data/prepared/manifest.json",
    "data/clean/examples.npy",
    "data/clean/manifest.parquet",
    "data/clean/rejected.parquet",
    "data/clean/card.json",
    "data/split/split.parquet",
    "models/denoiser.safetensors",
    "models/raw.safetensors",
    "models/snapshots/index.json",
    "samples/images.npy",
    "samples/labels.npy",
    "samples/grid.png",
    "samples/grid_raw.png",
    "samples/film.png",
    "plots/sweep_guidance.csv",
    "plots/sweep_evaluations.csv",
    "metrics/sweep.json",
    "reports/data.html",
    "reports/data/flow.png",
    "reports/report.html",
    "reports/model_card.md",
    "reports/figures/training.png",
)


def client(repository: Repository) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{repository.path / 'mlflow.db'}")


def runs(repository: Repository) -> list[mlflow.entities.Run]:
    tracking = client(repository)
    experiment = tracking.get_experiment_by_name("rediffuse")
    return list(tracking.search_runs([experiment.experiment_id]))


def test_every_promised_file_is_there(finished: Repository):
    assert [name for name in OUTS if not (finished.path / name).is_file()] == []
    images = np.load(finished.workspace.sampled_images)
    labels = np.load(finished.workspace.sampled_labels)
    assert (images.shape, images.dtype, labels.shape) == ((60, 1, 8, 8), np.uint8, (60,))
    assert Image.open(finished.workspace.grid).size > (100, 100)


def test_metrics_have_the_names_other_tools_read(finished: Repository):
    train = files.read_json(finished.workspace.metrics("train"))
    assert train.keys() >= {"steps", "examples", "val_loss", "val_loss_ema"}
    assert (train["steps"], train["examples"]) == (40, 40 * 32)
    scores = files.read_json(finished.workspace.metrics("evaluate"))
    fidelity = {"fd", "fd_floor", "kid", "kid_floor", "precision", "recall", "f1", "precision_floor", "recall_floor"}
    assert scores["fidelity"].keys() >= fidelity
    assert scores["utility"].keys() >= {"gan_test_accuracy", "cas_accuracy", "real_accuracy"}
    bits = {"bits_per_dim", "bits_per_dim_low", "bits_per_dim_high", "bits_per_dim_baseline"}
    assert scores["likelihood"].keys() == bits | {"stderr", "method", "n"}
    assert scores["n_samples"] == 60


def test_a_second_repro_has_nothing_to_do(finished: Repository):
    before = finished.workspace.lock.read_bytes()
    assert "up to date" in finished.run("dvc", "repro")
    assert finished.workspace.lock.read_bytes() == before
    assert finished.run("git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_another_folder_hash_seed_locale_and_order_of_intervals_give_the_same_bytes(
    finished: Repository, make_repository: Callable[[Path], Repository], tmp_path: Path
):
    other = make_repository(tmp_path / "a longer path with spaces")
    other.edit(
        **{"checkpoint_every: 10 ": "checkpoint_every: 7 ", "preview_every: 20 ": "preview_every: 0 "},
        **{"  tracking: true": "  tracking: false"},
    )
    # Asked for from a folder inside.
    command = ("env", "--chdir=stages", "dvc", "repro", "../dvc.yaml")
    other.run(*command, PYTHONHASHSEED="7", LC_ALL="C", TZ="Asia/Tokyo")
    assert other.workspace.lock.read_bytes() == finished.workspace.lock.read_bytes()
    assert not (other.path / "mlflow.db").exists()


def test_training_leaves_no_state_behind(finished: Repository):
    assert list((finished.workspace.state / "train").rglob("*.safetensors")) == []


def test_one_mlflow_run_holds_the_whole_pipeline(finished: Repository):
    (run,) = runs(finished)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.steps"] == "40"
    assert not [name for name in run.data.params if name.startswith("runtime")]
    scores = files.read_json(finished.workspace.metrics("evaluate"))
    assert run.data.metrics["fidelity/fd"] == scores["fidelity"]["fd"]
    assert run.data.metrics["utility/cas_accuracy"] == scores["utility"]["cas_accuracy"]
    swept = files.read_json(finished.workspace.metrics("sweep"))
    assert run.data.metrics["sweep/guidance/2/fd"] == swept["guidance"]["2"]["fd"]
    assert run.data.metrics["sweep/evaluations/ddim/4/fd"] == swept["evaluations"]["ddim"]["4"]["fd"]
    steps = [point.step for point in client(finished).get_metric_history(run.info.run_id, "train/loss")]
    assert steps == [10, 20, 30, 40]
    assert run.data.tags["out.models/denoiser.safetensors"] == files.md5(finished.workspace.denoiser)
    assert {each.dataset.name for each in run.inputs.dataset_inputs} == {
        f"digits-{s}" for s in ("train", "val", "test")
    }


def test_the_run_keeps_pictures_report_and_a_model_that_points_at_the_weights(finished: Repository):
    (run,) = runs(finished)
    tracking = client(finished)

    def listed(folder: str) -> set[str]:
        return {Path(item.path).name for item in tracking.list_artifacts(run.info.run_id, folder)}

    assert listed("samples") == {"grid.png", "grid_raw.png", "film.png"}
    assert listed("reports") == {"report.html", "model_card.md", "figures"}
    assert listed("data") >= {"data.html", "flow.png", "examples.png", "classes.png", "quality.png"}
    assert listed("previews") == {f"step-{step:07d}-{name}.png" for step in (20, 40) for name in ("raw", "ema")}
    (model,) = tracking.search_logged_models([run.info.experiment_id])
    assert model.tags["md5"] == files.md5(finished.workspace.denoiser)


def test_the_report_is_one_offline_page(finished: Repository):
    page = finished.workspace.report.read_text()
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert str(finished.path) not in page


def test_dvc_shows_plots_and_compares_metrics(finished: Repository, trained: Repository):
    assert "index.html" in trained.run("dvc", "plots", "show")
    metrics = files.read_json(trained.workspace.metrics("train"))
    files.write_json(trained.workspace.metrics("train"), metrics | {"val_loss": 9.0})
    table = trained.run("dvc", "metrics", "diff", "--json")
    assert json.loads(table)["metrics/train.json"]["val_loss"]["new"] == 9.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"  lr: 2.0e-3 ": "  lrr: 2.0e-3 "}, "params.yaml: train.lrr is not a known key; did you mean train.lr?"),
        ({"  device: auto ": "  device: cuda "}, "params.yaml: runtime.device is cuda, but torch finds no CUDA device"),
        ({"  multipliers: null ": "  multipliers: [1, 1, 1, 1] "}, "clean.size must be a multiple of 16"),
    ],
)
def test_a_users_mistake_is_one_line_and_leaves_the_outs_alone(
    trained: Repository,
    changes: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    before = files.md5(trained.workspace.denoiser)
    trained.edit(**changes)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(trained.path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit) as ended:
        run_stage(train, live=True)
    assert ended.value.code == 2
    out, said = capfd.readouterr()
    assert out == ""
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert files.md5(trained.workspace.denoiser) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"  lr: 2.0e-3 ": "  lr: -1 "}, "params.yaml: train.lr is -1: input should be greater than 0"),
        (
            {"  source: digits ": "  source: folder ", "  path: data/raw ": "  path: data/nowhere "},
            "params.yaml: prepare.path is data/nowhere, but there is no such folder",
        ),
    ],
)
def test_a_mistake_under_dvc_takes_no_out_away(trained: Repository, changes: dict[str, str], message: str):
    """DVC removes a stage's outs before it starts the stage; `check` comes before that."""
    before = {name: files.md5(trained.path / name) for name in OUTS}
    trained.edit(**changes)
    assert f"stage check: {message}" in trained.run("dvc", "repro", code=255)
    assert {name: files.md5(trained.path / name) for name in OUTS} == before


def test_a_missing_folder_is_named_by_the_stage(trained: Repository):
    trained.edit(**{"  source: digits ": "  source: folder ", "  path: data/raw ": "  path: data/nowhere "})
    said = trained.run("python", "-m", "stages.prepare", code=2)
    assert "data/nowhere" in said
    assert len(said.strip().splitlines()) == 1


def test_the_two_kinds_of_error_have_their_exit_codes():
    from rediffuse.errors import TryAgainError

    assert (UserError.exit_code, TryAgainError.exit_code) == (2, 75)
