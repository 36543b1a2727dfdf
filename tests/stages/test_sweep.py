"""Stage `sweep` of a new network: points, tables, bytes, and models without classes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rediffuse.data.card import Card
from rediffuse.data.manifest import MANIFEST, SPLIT, read_table, write_columns
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.extractors.classifier import Classifier
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.fidelity.protocol import score_fidelity
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.reference import Reference, read_reference, reference_of
from rediffuse.evaluation.sweep import EVALUATIONS_COLUMNS, GUIDANCE_COLUMNS
from rediffuse.model import build_model, describe, save_model
from rediffuse.params import Params
from rediffuse.randomness import generator, seeded_global
from rediffuse.workspace import Workspace
from stages.sample import sample
from stages.sweep import sweep

CPU = torch.device("cpu")
COUNT = 30


def with_model(workspace: Workspace, params: Params, classes: tuple[str, ...]) -> Workspace:
    """A network with random weights, also in the layers that begin at 0, as the averaged and as the raw one."""
    card = Card.read(workspace.card)
    description = describe(params.model, params.diffusion, shape=card.shape, classes=classes, sigma_data=card.std)
    with seeded_global(0, "test"):
        model = build_model(description, CPU)
    draw = generator(0, "test/awake")
    for parameter in model.denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1, generator=draw)
    for path in (workspace.denoiser, workspace.raw):
        save_model(path, description, model.denoiser)
    return workspace


@pytest.fixture(scope="module")
def quick(params: Params) -> Params:
    changes = {"sampler": "heun", "batch_size": 10, "steps": 3, "count": COUNT}
    return params.model_copy(
        update={
            "sample": params.sample.model_copy(update=changes),
            "reference": params.reference.model_copy(update={"steps": 40}),
            "runtime": params.runtime.model_copy(update={"progress": False}),
        }
    )


@pytest.fixture(scope="module")
def swept(workspace: Workspace, quick: Params) -> Workspace:
    with_model(workspace, quick, Card.read(workspace.card).classes)
    sweep(quick, workspace)
    return workspace


def outs(workspace: Workspace) -> dict[str, bytes]:
    paths = (workspace.metrics("sweep"), workspace.plot("sweep_guidance"), workspace.plot("sweep_evaluations"))
    return {path.name: path.read_bytes() for path in paths}


def without(params: Params, **changes: object) -> Params:
    steps = params.sweep.steps.model_copy(update={"ddim": (), "heun": ()})
    section = params.sweep.model_copy(update={"steps": steps, **changes})
    return params.model_copy(update={"sweep": section})


def test_each_point_that_is_asked_for_has_its_row_and_its_measured_evaluations(swept: Workspace):
    guidance, evaluations = (pd.read_csv(swept.plot(f"sweep_{name}")) for name in ("guidance", "evaluations"))
    assert tuple(guidance) == GUIDANCE_COLUMNS
    assert guidance["guidance"].tolist() == [1.0, 2.0]
    assert guidance.notna().all(axis=None)
    assert tuple(evaluations) == EVALUATIONS_COLUMNS
    rows = evaluations[["sampler", "steps", "evaluations"]].to_numpy().tolist()
    assert rows == [["ddim", 2, 2.0], ["ddim", 4, 4.0], ["heun", 3, 5.0]]
    metrics = json.loads(swept.metrics("sweep").read_text())
    # Guidance is a second evaluation each time.
    assert [metrics["guidance"][scale]["evaluations"] for scale in ("1", "2")] == [5.0, 10.0]
    assert metrics["evaluations"]["heun"]["5"]["fd"] == metrics["guidance"]["1"]["fd"]
    assert metrics["protocol"]["images"] == COUNT
    assert metrics["protocol"]["cas"]["validated_on"] == "val (180 images)"
    assert metrics["protocol"]["grids"] == {"ddim": "karras", "heun": "karras"}


def test_the_scale_one_scores_the_images_of_the_stage_sample(swept: Workspace, quick: Params):
    sample(quick, swept)
    images, labels = np.load(swept.sampled_images), np.load(swept.sampled_labels)
    own = ExtractorSettings.of(quick.reference, seed=quick.seed, root=swept.root)
    reference = read_reference(swept.reference, own, {"train": 1437, "val": 180, "test": 180}, CPU)
    features = extract(reference.classifier, images)
    real, settings = reference.features["classifier"], FidelitySettings.of(quick.evaluate, seed=quick.seed)
    expected = score_fidelity(real.train, real.test, features, settings).scores
    found = json.loads(swept.metrics("sweep").read_text())["guidance"]["1"]
    for name in ("fd", "fd_low", "fd_high", "precision", "precision_low", "recall", "recall_high"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5)
    assert found["gan_test_accuracy"] == pytest.approx(
        (classify(reference.classifier, features) == labels).mean(), rel=1e-5
    )


def test_a_second_run_writes_the_same_bytes_whatever_the_order_of_the_points(swept: Workspace, quick: Params):
    first = outs(swept)
    sweep(quick, swept)
    assert outs(swept) == first
    turned = quick.sweep.model_copy(update={"guidance": (2.0, 1.0)})
    sweep(quick.model_copy(update={"sweep": turned}), swept)
    assert outs(swept)["sweep.json"] == first["sweep.json"]
    swept.plot("sweep_guidance").write_bytes(first["sweep_guidance.csv"])


def test_without_points_the_tables_have_headers_alone(tmp_path: Path, swept: Workspace, quick: Params):
    copy = Workspace.at(shutil.copytree(swept.root, tmp_path / "digits"))
    metrics = sweep(without(quick, guidance=()), copy)
    assert (metrics["guidance"], metrics["evaluations"]) == ({}, {})
    assert copy.plot("sweep_guidance").read_text() == ",".join(GUIDANCE_COLUMNS) + "\n"
    assert copy.plot("sweep_evaluations").read_text() == ",".join(EVALUATIONS_COLUMNS) + "\n"


def test_a_model_without_classes_is_swept_at_the_scale_one(
    tmp_path: Path,
    swept: Workspace,
    quick: Params,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    copy = with_model(Workspace.at(shutil.copytree(swept.root, tmp_path / "digits")), quick, ())
    own = ExtractorSettings.of(quick.reference, seed=quick.seed, root=copy.root)
    reference = read_reference(copy.reference, own, {"train": 1437, "val": 180, "test": 180}, CPU)
    unlabelled = Classifier(replace(reference.classifier.shape, classes=0), generator(0, "test"))
    judge = replace(reference.judge, network=unlabelled.eval())
    monkeypatch.setattr("stages.sweep.reference_of", lambda *_: replace(reference, judge=judge))
    metrics = sweep(without(quick), copy)
    assert metrics["guidance"].keys() == {"1"}
    scores = {f"{name}{end}" for name in ("fd", "precision", "recall") for end in ("", "_low", "_high")}
    assert metrics["guidance"]["1"].keys() == {"evaluations"} | scores
    assert metrics["protocol"]["cas"] == "none"
    assert pd.read_csv(copy.plot("sweep_guidance"))[["cas_val_accuracy", "gan_test_accuracy"]].isna().all(axis=None)
    assert capsys.readouterr().out == "sweep: guidance 2 left out: the data has no labels to guide to\n"


def test_nothing_of_a_sweep_but_its_size_comes_from_the_test_images(
    tmp_path: Path, swept: Workspace, quick: Params, monkeypatch: pytest.MonkeyPatch
):
    """Each test image black and without a label, and its features 0: the same bytes."""
    copy = Workspace.at(shutil.copytree(swept.root, tmp_path / "digits"))
    manifest, split = read_table(copy.manifest, MANIFEST), read_table(copy.split, SPLIT)
    test = (split["split"] == "test").to_numpy()
    images = np.load(copy.examples)
    images[test] = 0
    np.save(copy.examples, images)
    manifest.loc[test, "label"] = pd.NA
    write_columns(copy.manifest, MANIFEST, dict(manifest.items()))

    def without_test(*arguments: Any) -> Reference:
        found = reference_of(*arguments)
        dark = {
            name: replace(each, test=np.zeros_like(each.test), controls={}) for name, each in found.features.items()
        }
        return replace(found, features=dark)

    monkeypatch.setattr("stages.sweep.reference_of", without_test)
    sweep(quick, copy)
    assert outs(copy) == outs(swept)
