"""Stage `evaluate` with real digits in place of samples: names, floors, bytes, and samples that don't fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rediffuse import files
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.errors import UserError
from rediffuse.evaluation.sweep import evaluations_table, guidance_table, sweep_metrics
from rediffuse.model import build_model, describe, save_model
from rediffuse.params import Params
from rediffuse.pictures import class_grid
from rediffuse.randomness import seeded_global
from rediffuse.tables import write_table
from rediffuse.workspace import Workspace
from stages.evaluate import evaluate
from stages.reference import reference
from tests.data.planted import contents
from tests.evaluation.report.conftest import unpainted  # noqa: F401


def with_samples(workspace: Workspace, params: Params, count: int) -> Workspace:
    """Everything that `evaluate` reads, with training images, a little noisy, as the samples."""
    train, card = load_split(workspace, "train"), Card.read(workspace.card)
    draw = np.random.default_rng(0)
    order = draw.permutation(len(train))
    # Labels cycle through the classes, as sampling's do.
    by_class = [order[train.labels[order] == label] for label in range(len(card.classes))] or [order]
    chosen = np.array([by_class[i % len(by_class)][i // len(by_class)] for i in range(count)])
    noisy = train.images[chosen] + draw.normal(0, 8, (count, *card.shape))
    workspace.sampled_images.parent.mkdir(parents=True)
    np.save(workspace.sampled_images, np.clip(noisy, 0, 255).astype(np.uint8))
    np.save(workspace.sampled_labels, train.labels[chosen])
    for path in (workspace.grid, workspace.raw_grid, workspace.film):
        path.write_bytes(class_grid(train.images[:4], train.labels[:4], ()))
    files.write_json(workspace.metrics("sample"), {"count": count, "evaluations": 35.0})
    workspace.plot("training").parent.mkdir(parents=True)
    workspace.plot("training").write_text("step,loss,lr\n1,2.0,0.001\n2,1.0,0.002\n")
    workspace.plot("validation").write_text("step,val_loss,val_loss_ema\n2,1.5,1.4\n")
    # Of a sweep that nothing was asked of.
    write_table(workspace.plot("sweep_guidance"), guidance_table([]))
    write_table(workspace.plot("sweep_evaluations"), evaluations_table([]))
    files.write_json(workspace.metrics("sweep"), sweep_metrics([], [], {}))
    description = describe(params.model, params.diffusion, shape=card.shape, classes=card.classes, sigma_data=card.std)
    with seeded_global(0, "test"):
        model = build_model(description, torch.device("cpu"))
    for path in (workspace.denoiser, workspace.raw):
        save_model(path, description, model.denoiser)
    return workspace


@pytest.fixture(scope="module")
def evaluated(workspace: Workspace, params: Params) -> Workspace:
    evaluate(params, with_samples(workspace, params, 400))
    return workspace


def outs(workspace: Workspace) -> dict[str, bytes]:
    return {
        **contents(workspace.report.parent),
        **contents(workspace.metrics("evaluate").parent),
        **contents(workspace.plot("confusion").parent),
    }


def test_the_metrics_have_the_keys_that_other_tools_read(evaluated: Workspace) -> None:
    metrics = json.loads(evaluated.metrics("evaluate").read_text())
    blocks = {"fidelity", "by_extractor", "controls", "utility", "memorisation", "likelihood", "verdicts"}
    assert set(metrics) == blocks | {"n_samples", "protocol"}
    names = {"fd", "kid", "mmd", "precision", "recall", "f1", "density", "coverage"}
    intervals = {f"{name}{floor}{end}" for name in names for floor in ("", "_floor") for end in ("", "_low", "_high")}
    assert set(metrics["fidelity"]) == intervals | {"fd_full", "kid_subset_sd", "labels", "by_class"}
    assert set(metrics["controls"]["half_of_train"]) == names | {"images"}
    classes = [str(digit) for digit in range(10)]
    assert sorted(metrics["fidelity"]["by_class"]) == sorted(metrics["fidelity"]["labels"]["by_class"]) == classes
    assert {"gan_test_accuracy", "cas_accuracy", "real_accuracy"} <= set(metrics["utility"])
    assert metrics["n_samples"] == 400
    assert metrics["protocol"]["fidelity"]["images"] == 180
    assert metrics["protocol"]["fidelity"]["folds"] == 2
    assert metrics["utility"]["augmentation"].keys() == {"100"}
    protocol = metrics["protocol"]["utility"]
    assert (protocol["pairs"], protocol["repeats"], protocol["tested_on"]) == (400, 2, "test (180 images)")
    assert protocol["digest"] == metrics["protocol"]["fidelity"]["digest"]
    bits = {"bits_per_dim", "bits_per_dim_low", "bits_per_dim_high", "bits_per_dim_baseline"}
    assert metrics["likelihood"].keys() == bits | {"stderr", "method", "n"}
    assert (metrics["likelihood"]["method"], metrics["likelihood"]["n"]) == ("ode", 20)
    likelihood = metrics["protocol"]["likelihood"]
    assert "solver heun (2 steps)" in likelihood["how"]
    assert (likelihood["images"], likelihood["split"], likelihood["seed"]) == (20, "test", 0)
    page = evaluated.report.read_text()
    assert f"{metrics['likelihood']['bits_per_dim']:.3f}" in page
    # Who changes how a model is registered gets no other report.
    assert "train.log_every" in page
    assert "register." not in page


def test_noisy_training_images_score_as_a_good_generator_would(evaluated: Workspace) -> None:
    metrics = json.loads(evaluated.metrics("evaluate").read_text())
    fidelity, utility = metrics["fidelity"], metrics["utility"]
    assert fidelity["fd"] < 1.5 * fidelity["fd_floor"]
    assert fidelity["precision"] > 0.9
    assert utility["gan_test_accuracy"] > 0.8
    assert utility["cas_accuracy"] > utility["real_accuracy"] - 0.1
    reference_metrics = json.loads(evaluated.metrics("reference").read_text())
    assert utility["real_accuracy"] == reference_metrics["real_accuracy"]["all"]["accuracy"]
    assert utility["augmentation"]["100"]["real_accuracy"] == reference_metrics["real_accuracy"]["100"]["accuracy"]


def test_the_audit_sees_that_the_samples_are_training_images(evaluated: Workspace) -> None:
    metrics = json.loads(evaluated.metrics("evaluate").read_text())
    found, protocol = metrics["memorisation"], metrics["protocol"]["memorisation"]
    assert found["ct_high"] < -3
    assert found["authenticity_high"] < found["authenticity_floor"]
    assert found["pixel_copies"] == 0
    # Of a network that was never trained.
    assert found["membership_auc_low"] < 0.5 < found["membership_auc_high"]
    assert "canaries" not in found
    assert protocol["digest"] == metrics["protocol"]["fidelity"]["digest"]
    assert (protocol["images"], protocol["cells"]) == (400, "10 of 10 classes, as the judge sees them")
    assert protocol["membership"] == "20 train and 20 test images at 2 noise levels"
    nearest = pd.read_csv(evaluated.plot("nearest"))
    assert list(nearest) == ["generated", "train", "distance", "ratio"]
    assert len(nearest) == 100
    assert nearest["ratio"].is_monotonic_increasing
    train = load_split(evaluated, "train")
    images, real = np.load(evaluated.sampled_images).astype(float), dict(zip(train.ids, train.images, strict=True))
    errors = [
        np.abs(images[row] - real[name]).mean()
        for row, name in zip(nearest["generated"], nearest["train"], strict=True)
    ]
    assert np.median(errors) < 8


@pytest.mark.usefixtures("unpainted")
def test_the_audit_sees_copies_under_labels_that_have_nothing_to_do_with_them(
    own_workspace: Workspace, params: Params
) -> None:
    made = with_samples(own_workspace, params, 400)
    # Of the ten classes that they show two were asked for.
    np.save(made.sampled_labels, np.arange(400) % 2)
    metrics = evaluate(params, made)
    assert metrics["protocol"]["memorisation"]["cells"].startswith("10 of 10 classes")
    assert metrics["memorisation"]["ct_high"] < -3
    assert metrics["verdicts"]["memorisation"]["verdict"] == "not met"


def test_the_plots_are_tables_that_dvc_can_draw(evaluated: Workspace) -> None:
    confusion = pd.read_csv(evaluated.plot("confusion"))
    assert list(confusion) == ["actual", "predicted"]
    assert len(confusion) == 180
    utility = json.loads(evaluated.metrics("evaluate").read_text())["utility"]
    # Each test image once, as the first of the trainings sees it.
    first = (confusion["actual"] == confusion["predicted"]).mean()
    assert first == pytest.approx(utility["cas_accuracy"], abs=0.1)
    noise = pd.read_csv(evaluated.plot("loss_by_noise_level"))
    ends = ("_raw", "", "_baseline")
    assert list(noise) == ["noise_to_signal", *(f"loss{end}" for end in ends), *(f"mse{end}" for end in ends)]
    # The network is new, and says of every pixel the same.
    assert (noise["mse_baseline"] < noise["mse"]).all()
    assert len(noise) == 3
    assert noise["noise_to_signal"].is_monotonic_increasing


def test_a_second_run_writes_the_same_bytes(evaluated: Workspace, params: Params) -> None:
    first = outs(evaluated)
    (evaluated.figures / "stale.png").write_bytes(b"of another evaluation")
    evaluate(params, evaluated)
    assert outs(evaluated) == first


def test_the_report_holds_no_path_of_this_machine(evaluated: Workspace) -> None:
    for text in (evaluated.report.read_text(), evaluated.model_card.read_text()):
        assert str(evaluated.root) not in text
        assert str(Path.cwd()) not in text


def test_the_figures_lie_beside_the_report(evaluated: Workspace) -> None:
    names = {path.name for path in evaluated.figures.iterdir()}
    assert {"training.png", "noise_levels.png", "confusion.png", "suspicious.png"} <= names


@pytest.mark.usefixtures("unpainted")
def test_a_verdict_that_is_not_met_can_fail_the_stage_and_leaves_everything_written(
    evaluated: Workspace, params: Params, tmp_path: Path
) -> None:
    asked = {
        "fidelity": ("fidelity.fd <= 2 * fidelity.fd_floor",),
        "diversity": ("fidelity.recall > 1",),
        "memorisation": ("memorisation.canaries.exposure < 1",),
    }
    verdicts = params.evaluate.verdicts.model_copy(update=asked)
    evaluation = params.evaluate.model_copy(
        update={"verdicts": verdicts, "fail_on": ("fidelity", "memorisation", "diversity")}
    )
    made = Workspace.at(shutil.copytree(evaluated.root, tmp_path / "copy"))
    made.metrics("evaluate").unlink()
    with pytest.raises(UserError, match=r"are not met: diversity \(fidelity\.recall > 1: 0\.\d+ > 1 is not so\);"):
        evaluate(params.model_copy(update={"evaluate": evaluation}), made)
    judged = json.loads(made.metrics("evaluate").read_text())["verdicts"]
    found = {aspect: judged[aspect]["verdict"] for aspect in asked}
    assert found == {"fidelity": "met", "diversity": "not met", "memorisation": "not asked"}


def test_too_few_samples_are_a_users_error_that_leaves_the_outs_alone(evaluated: Workspace, params: Params) -> None:
    first, images, labels = outs(evaluated), np.load(evaluated.sampled_images), np.load(evaluated.sampled_labels)
    try:
        np.save(evaluated.sampled_images, images[:3])
        np.save(evaluated.sampled_labels, labels[:3])
        with pytest.raises(UserError, match=r"holds 3 images; with these params\.yaml: evaluate scoring needs 4"):
            evaluate(params, evaluated)
    finally:
        np.save(evaluated.sampled_images, images)
        np.save(evaluated.sampled_labels, labels)
    assert outs(evaluated) == first


def test_a_test_set_too_small_for_the_neighbours_is_a_users_error_too(evaluated: Workspace, params: Params) -> None:
    first = outs(evaluated)
    evaluation = params.evaluate.model_copy(update={"neighbours": 180})
    with pytest.raises(
        UserError, match=r"the split test holds 180 images, .*evaluate\.neighbours 180 needs at least 181"
    ):
        evaluate(params.model_copy(update={"evaluate": evaluation}), evaluated)
    assert outs(evaluated) == first


@pytest.mark.usefixtures("unpainted")
def test_without_a_likelihood_the_rest_is_what_it_was(evaluated: Workspace, params: Params, tmp_path: Path) -> None:
    made = Workspace.at(shutil.copytree(evaluated.root, tmp_path / "copy"))
    first = json.loads(made.metrics("evaluate").read_text())
    off = params.evaluate.likelihood.model_copy(update={"method": "none"})
    evaluation = params.evaluate.model_copy(update={"likelihood": off})
    metrics = evaluate(params.model_copy(update={"evaluate": evaluation}), made)
    assert metrics.pop("likelihood") is None
    assert metrics["protocol"].pop("likelihood") == "none: evaluate.likelihood.method is none"
    assert first.pop("likelihood") is not None
    first["protocol"].pop("likelihood")
    assert metrics.pop("verdicts")["likelihood"]["verdict"] == "not asked"
    assert first.pop("verdicts").keys() == params.evaluate.verdicts.model_dump().keys()
    assert json.loads(json.dumps(metrics)) == first
    assert "How likely" not in made.report.read_text()


@pytest.mark.usefixtures("unpainted")
def test_data_without_classes_is_scored_by_an_untrained_extractor(own_workspace: Workspace, params: Params) -> None:
    made = own_workspace
    card = json.loads(made.card.read_text()) | {"classes": [], "class_counts": {}}
    made.card.write_text(json.dumps(card))
    assert "accuracy" not in reference(params, made)
    metrics = evaluate(params, with_samples(made, params, 200))
    assert metrics["utility"] is None
    assert metrics["protocol"]["utility"] == "none: the data has no classes"
    assert not {"labels", "by_class"} & set(metrics["fidelity"])
    assert metrics["likelihood"]["n"] == 20
    assert metrics["fidelity"]["fd"] < 3 * metrics["fidelity"]["fd_floor"]
    assert pd.read_csv(made.plot("confusion")).empty
    assert "none: the data has no classes" in made.report.read_text()
