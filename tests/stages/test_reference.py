"""Stage `reference` on the digits: what it leaves, that it repeats, what it looks at and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from rediffuse.data.dataset import Examples, load_split
from rediffuse.data.manifest import SPLIT, read_table
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.extractors.features import extract
from rediffuse.evaluation.extractors.weights import INCEPTION
from rediffuse.evaluation.reference import Reference, read_reference
from rediffuse.files import sha256
from rediffuse.params import Params
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.reference import reference
from stages.split import split
from tests.data.planted import contents, image_file, params_with

COUNTS = {"train": 1437, "val": 180, "test": 180}


def read(workspace: Workspace, params: Params) -> Reference:
    settings = ExtractorSettings.of(params.reference, seed=params.seed, root=workspace.root)
    return read_reference(workspace.reference, settings, COUNTS, torch.device("cpu"))


def test_it_leaves_a_classifier_extractors_and_their_features_of_every_real_split(
    workspace: Workspace, params: Params
) -> None:
    assert set(contents(workspace.reference)) == {
        "classifier.safetensors",
        "pca.safetensors",
        "real_accuracy.safetensors",
        "features/classifier.safetensors",
        "features/pca.safetensors",
    }
    found = read(workspace, params)
    for name in ("train", "val", "test"):
        images = load_split(workspace, name).images
        assert np.array_equal(getattr(found.features["classifier"], name), extract(found.classifier, images))
        assert {each: len(features) for each, features in found.extract(images).items()} == {
            "classifier": len(images),
            "pca": len(images),
        }
    assert found.digest == found.main.digest == sha256(workspace.reference / "classifier.safetensors")


def test_its_metrics_name_each_extractor_its_digest_and_its_dimensions(workspace: Workspace, params: Params) -> None:
    metrics = json.loads(workspace.metrics("reference").read_text())
    assert metrics["extractors"] == {
        each.name: {"digest": each.digest, "dimensions": read(workspace, params).features[each.name].test.shape[1]}
        for each in read(workspace, params).extractors
    }


def test_its_metrics_are_the_accuracies_that_the_classifier_has(workspace: Workspace) -> None:
    metrics = json.loads(workspace.metrics("reference").read_text())
    assert set(metrics["accuracy"]) == {"train", "val", "test"}
    assert 0.8 < metrics["accuracy"]["test"] <= 1
    recalls = [scores["recall"] for scores in metrics["per_class"].values()]
    # Each digit has 18 test images.
    assert np.mean(recalls) == pytest.approx(metrics["accuracy"]["test"], abs=1e-5)
    everything, few = (metrics["real_accuracy"][count] for count in ("all", "100"))
    assert everything["accuracy_low"] < metrics["accuracy"]["test"] < everything["accuracy_high"]
    assert few["accuracy"] < everything["accuracy"]


def test_a_second_run_writes_the_same_bytes(workspace: Workspace, params: Params) -> None:
    first, metrics = contents(workspace.reference), workspace.metrics("reference").read_bytes()
    reference(params, workspace)
    assert contents(workspace.reference) == first
    assert workspace.metrics("reference").read_bytes() == metrics


def test_the_classifier_does_not_depend_on_images_held_out(
    own_workspace: Workspace, workspace: Workspace, params: Params
) -> None:
    images, parts = np.load(own_workspace.examples), read_table(own_workspace.split, SPLIT)["split"].to_numpy()
    images[parts != "train"] = 255 - images[parts != "train"]
    np.save(own_workspace.examples, images)
    reference(params, own_workspace)
    name = "classifier.safetensors"
    assert (own_workspace.reference / name).read_bytes() == (workspace.reference / name).read_bytes()


def test_an_extractor_that_does_not_work_is_refused_before_anything_is_trained(
    own_workspace: Workspace, workspace: Workspace, params: Params
) -> None:
    shutil.rmtree(own_workspace.reference)
    weights = own_workspace.root / "data" / "extractors"
    weights.mkdir()
    (weights / "own.py").write_text("def Half():\n    return lambda images: images[::2].flatten(1).float()\n")
    changes = {"extractors": ("classifier", "custom"), "custom": "own:Half"}
    own = params.model_copy(update={"reference": params.reference.model_copy(update=changes)})
    with pytest.raises(UserError, match=r"reference.custom own:Half gives torch.float32 \(8, 64\); it must take uint8"):
        reference(own, own_workspace)
    assert not own_workspace.reference.exists()


def test_images_without_a_label_are_neither_trained_on_nor_counted(
    own_workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def partly(made: Workspace, name: str) -> Examples:
        split = load_split(made, name)
        return replace(split, labels=np.where(np.arange(len(split)) % 3, split.labels, -1))

    monkeypatch.setattr("stages.reference.load_split", partly)
    metrics = reference(params, own_workspace)
    assert 0.8 < metrics["accuracy"]["test"] <= 1
    assert 0.8 < metrics["real_accuracy"]["all"]["accuracy"] <= 1
    stored = load_file(own_workspace.reference / "real_accuracy.safetensors")
    assert {name: hits.shape for name, hits in stored.items()} == {"100": (2, 120), "all": (2, 120)}


def test_splits_too_small_to_score_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    """Two classes of ten images: a valid data set, but with four test images."""
    for i in range(20):
        image_file(tmp_path / "raw" / "ab"[i % 2] / f"{i}.png", i)
    made, few = Workspace.at(tmp_path), params_with(evaluate__neighbours=4, runtime__device="cpu", runtime__threads=1)
    for stage in (prepare, clean, split):
        stage(few, made)
    with pytest.raises(UserError, match=r"the split test holds 4 images, .*evaluate\.neighbours 4 needs at least 5"):
        reference(few, made)
    assert not made.reference.exists()
    assert not made.metrics("reference").exists()


def test_weights_that_went_missing_are_taken_from_the_lasting_checkout_or_asked_for_in_one_line(
    workspace: Workspace, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"extractors": ("classifier", "inception")}
    params = params.model_copy(update={"reference": params.reference.model_copy(update=changes)})
    monkeypatch.setattr("rediffuse.evaluation.extractors.weights.check_library", lambda name: None)
    temporary = replace(workspace, home=tmp_path)
    with pytest.raises(UserError, match=rf"holds no {INCEPTION}; put it there, or .* run `dvc repro -f -s check`"):
        reference(params, temporary)
    (tmp_path / "data" / "extractors").mkdir(parents=True)
    (tmp_path / "data" / "extractors" / INCEPTION).write_bytes(b"no network")
    with pytest.raises(UserError, match=f"(?s).*{INCEPTION}"):
        reference(params, temporary)
    assert (workspace.root / "data" / "extractors" / INCEPTION).read_bytes() == b"no network"
