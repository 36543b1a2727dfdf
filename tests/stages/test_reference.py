"""Stage `reference` on the digits: what it leaves, that it repeats, and what it looks at."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rediffuse.data.dataset import load_split
from rediffuse.data.manifest import SPLIT, read_table
from rediffuse.errors import UserError
from rediffuse.evaluation.features import extract
from rediffuse.evaluation.reference import read_reference
from rediffuse.params import Params
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.reference import reference
from stages.split import split
from tests.data.planted import contents, params_with

PARAMS = params_with(
    prepare__source="digits",
    split__val_share=0.1,
    split__test_share=0.1,
    reference__width=16,
    reference__features=16,
    reference__steps=150,
    reference__batch_size=64,
    reference__lr=0.008,
    runtime__device="cpu",
    runtime__threads=1,
)


def digits_workspace(root: Path, params: Params = PARAMS) -> Workspace:
    workspace = Workspace.at(root)
    for stage in (prepare, clean, split):
        stage(params, workspace)
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = digits_workspace(tmp_path_factory.mktemp("digits"))
    reference(PARAMS, made)
    return made


def test_it_leaves_a_classifier_and_the_features_of_every_real_split(workspace: Workspace) -> None:
    assert set(contents(workspace.reference)) == {"classifier.safetensors", "features.safetensors"}
    read = read_reference(workspace.reference, torch.device("cpu"))
    for name in ("train", "val", "test"):
        images = load_split(workspace, name).images
        assert np.array_equal(read.features[name], extract(read.classifier, images))


def test_its_metrics_are_the_accuracies_that_the_classifier_has(workspace: Workspace) -> None:
    metrics = json.loads(workspace.metrics("reference").read_text())
    assert set(metrics["accuracy"]) == {"train", "val", "test"}
    assert 0.8 < metrics["accuracy"]["test"] <= 1
    recalls = [scores["recall"] for scores in metrics["per_class"].values()]
    # Each digit has 18 test images.
    assert np.mean(recalls) == pytest.approx(metrics["accuracy"]["test"], abs=1e-5)


def test_a_second_run_writes_the_same_bytes(workspace: Workspace) -> None:
    first, metrics = contents(workspace.reference), workspace.metrics("reference").read_bytes()
    reference(PARAMS, workspace)
    assert contents(workspace.reference) == first
    assert workspace.metrics("reference").read_bytes() == metrics


def test_the_classifier_does_not_depend_on_images_held_out(tmp_path: Path, workspace: Workspace) -> None:
    other = digits_workspace(tmp_path)
    images, parts = np.load(other.examples), read_table(other.split, SPLIT)["split"].to_numpy()
    images[parts != "train"] = 255 - images[parts != "train"]
    np.save(other.examples, images)
    reference(PARAMS, other)
    name = "classifier.safetensors"
    assert (other.reference / name).read_bytes() == (workspace.reference / name).read_bytes()


def test_a_missing_or_broken_reference_is_a_users_error(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"features\.safetensors can't be read"):
        read_reference(tmp_path, torch.device("cpu"))
    for file in contents(workspace.reference):
        (tmp_path / file).write_bytes((workspace.reference / file).read_bytes())
    (tmp_path / "features.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(UserError, match=r"features\.safetensors can't be read"):
        read_reference(tmp_path, torch.device("cpu"))
