import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rediffuse.data.dataset import load_split
from rediffuse.errors import UserError
from rediffuse.params import Params
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.split import split
from tests.data.planted import contents, idx_pair, image_file, params_with, pixels


def pipeline(root: Path, params: Params) -> Workspace:
    workspace = Workspace.at(root)
    for stage in (prepare, clean, split):
        stage(params, workspace)
    return workspace


def two_classes(root: Path, count: int = 20) -> Path:
    for i in range(count):
        image_file(root / "raw" / "ab"[i % 2] / f"{i}.png", i)
    return root


def test_split_lists_every_example_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    workspace = pipeline(two_classes(tmp_path), params_with())
    table = pd.read_parquet(workspace.split)
    assert table["id"].tolist() == pd.read_parquet(workspace.manifest)["id"].tolist()
    assert Counter(zip(table["split"], table["id"].str[0], strict=True)) == {
        ("train", "a"): 6,
        ("train", "b"): 6,
        ("val", "a"): 2,
        ("val", "b"): 2,
        ("test", "a"): 2,
        ("test", "b"): 2,
    }
    metrics = json.loads(workspace.metrics("split").read_text())
    assert metrics["counts"] == {"train": 12, "val": 4, "test": 4}
    assert metrics["greatest_deviation"] == 0


def test_split_writes_the_same_bytes_again_and_in_another_folder(tmp_path: Path) -> None:
    params = params_with()
    here = pipeline(two_classes(tmp_path / "here"), params)
    first = contents(here.root / "data")
    split(params, here)
    assert contents(here.root / "data") == first
    there = pipeline(two_classes(tmp_path / "there"), params)
    assert contents(there.root / "data") == first
    split(params_with(seed=1), here)
    assert contents(here.root / "data") != first


def test_planted_duplicate_groups_stay_together(tmp_path: Path) -> None:
    params = params_with()
    workspace = pipeline(two_classes(tmp_path, 40), params)
    manifest = pd.read_parquet(workspace.manifest)
    groups = manifest["id"].tolist()
    for i in range(0, 20, 4):
        groups[i : i + 3] = [groups[i]] * 3
    manifest.assign(group=groups).to_parquet(workspace.manifest, index=False)
    split(params, workspace)
    assigned = pd.read_parquet(workspace.split)["split"]
    assert len(set(zip(groups, assigned, strict=True))) == len(set(groups)) == 30


def test_load_split_gives_images_labels_and_ids_of_one_split(tmp_path: Path) -> None:
    labels = [0, 1] * 10
    images = np.stack([pixels(i, channels=1) for i in range(26)])
    idx_pair(tmp_path / "raw", "train-", images[:20], labels)
    idx_pair(tmp_path / "raw", "t10k-", images[20:], [1, 0] * 3)
    workspace = pipeline(tmp_path, params_with(prepare__source="idx"))
    test = load_split(workspace, "test")
    assert np.array_equal(test.images, images[20:, None])
    assert test.labels.tolist() == [1, 0] * 3
    assert test.labels.dtype == np.int64
    assert test.ids == tuple(f"test-{i:06d}" for i in range(6))
    train, val = load_split(workspace, "train"), load_split(workspace, "val")
    assert (len(train), len(val)) == (16, 4)
    for part in (train, val):
        for name, label, image in zip(part.ids, part.labels, part.images, strict=True):
            position = int(name.removeprefix("train-"))
            assert label == labels[position]
            assert np.array_equal(image[0], images[position])


def test_tables_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    params = params_with()
    workspace = pipeline(two_classes(tmp_path), params)
    manifest = pd.read_parquet(workspace.manifest)

    def refusal() -> str:
        with pytest.raises(UserError) as caught:
            load_split(workspace, "train")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
        return str(caught.value)

    manifest[::-1].to_parquet(workspace.manifest, index=False)
    assert "don't list the same examples; run dvc repro" in refusal()
    manifest.to_parquet(workspace.manifest, index=False)
    np.save(workspace.examples, np.load(workspace.examples)[1:])
    assert "(19 examples), manifest.parquet (20) and split.parquet (20) don't list the same examples" in refusal()
    pd.concat([manifest.assign(id=manifest["id"] + str(i), label=-3) for i in range(50)]).to_parquet(workspace.manifest)
    assert "manifest.parquet is not the table it should be" in refusal()
    manifest.drop(columns="mode").to_parquet(workspace.manifest, index=False)
    assert "mode" in refusal()
    workspace.manifest.write_bytes(b"no parquet")
    assert "manifest.parquet is not the table it should be" in refusal()
    workspace.manifest.unlink()
    assert "manifest.parquet is missing" in refusal()


def test_a_store_of_examples_that_is_no_array_of_images_is_refused_in_one_line(tmp_path: Path) -> None:
    workspace = pipeline(two_classes(tmp_path), params_with())

    def refusal() -> str:
        with pytest.raises(UserError) as caught:
            load_split(workspace, "train")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    whole = workspace.examples.read_bytes()
    for content in (b"", b"garbage", whole[:20], whole[:-1], pickle.dumps([1]), b"PK\x03\x04 an archive"):
        workspace.examples.write_bytes(content)
        assert "examples.npy can't be read as an array" in refusal()
        assert "run dvc repro clean" in refusal()
    np.save(workspace.examples, np.array([{}] * 20, object), allow_pickle=True)
    assert "examples.npy can't be read as an array" in refusal()
    np.save(workspace.examples, np.zeros((20, 3, 12, 12)))
    assert "examples.npy holds float64 of 4 dimensions, not images: uint8 of 4 dimensions" in refusal()
    np.save(workspace.examples, np.zeros(20, np.uint8))
    assert "examples.npy holds uint8 of 1 dimensions" in refusal()
    workspace.examples.unlink()
    assert "examples.npy is missing; run the stage clean first" in refusal()


def test_a_class_that_is_too_small_leaves_the_earlier_split(tmp_path: Path) -> None:
    params = params_with()
    workspace = pipeline(two_classes(tmp_path), params)
    before = contents(workspace.split.parent)
    image_file(tmp_path / "raw" / "c" / "only.png", 99)
    with pytest.raises(UserError, match="the class 'c' has too few images to divide over train, test, val: 1"):
        pipeline(tmp_path, params)
    assert contents(workspace.split.parent) == before
