import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rediffuse.data.arrays import ArrayWriter, map_examples
from rediffuse.data.dataset import load_split
from rediffuse.data.manifest import MANIFEST, read_table
from rediffuse.errors import UserError
from rediffuse.params import Params
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.split import split
from tests.data.manifests import rewrite
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
    assert metrics["counts"] == {"train": 12, "val": 4, "test": 4, "overlap": 0}
    assert metrics["classes"]["val"] == {"a": 2, "b": 2}
    assert metrics["greatest_deviation"] == 0
    assert metrics["groups"] == {"total": 20, "straddling": 0}
    assert metrics["overlap"] == {"train_val": 0, "train_test": 0, "val_test": 0}
    for part in ("val", "test"):
        assert metrics[part].keys() == {"ks", "ks_p", "auc", "fd_floor", "fd_train_halves"}


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
    groups = pd.read_parquet(workspace.manifest)["id"].tolist()
    for i in range(0, 20, 4):
        groups[i : i + 3] = [groups[i]] * 3
    rewrite(workspace.manifest, group=groups)
    metrics = split(params, workspace)
    assigned = pd.read_parquet(workspace.split)["split"]
    assert len(set(zip(groups, assigned, strict=True))) == len(set(groups)) == 30
    assert metrics["groups"] == {"total": 30, "straddling": 0}


def test_a_copy_of_a_test_image_is_in_no_split_that_a_later_stage_loads(tmp_path: Path) -> None:
    idx_pair(tmp_path / "raw", "train-", np.stack([pixels(i, channels=1) for i in range(40)]), [0, 1] * 20)
    idx_pair(tmp_path / "raw", "t10k-", np.stack([pixels(i, channels=1) for i in range(40, 46)]), [0, 1] * 3)
    params = params_with(prepare__source="idx")
    workspace = pipeline(tmp_path, params)
    table = pd.read_parquet(workspace.manifest)
    copies = {"train-000007": "test-000001", "train-000008": "test-000001", "train-000030": "test-000004"}
    rewrite(workspace.manifest, group=table["id"].replace(copies).astype("string"))
    metrics = split(params, workspace)
    loaded = {part: load_split(workspace, part).ids for part in ("train", "val", "test")}
    assert loaded["test"] == tuple(f"test-{i:06d}" for i in range(6))
    assert not copies.keys() & {*loaded["train"], *loaded["val"]}
    assert len(loaded["train"]) + len(loaded["val"]) == 37
    assert metrics["counts"]["overlap"] == metrics["overlap"]["train_test"] == 3


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"ks": 0.2}, r"brightness of val and train is apart by 1, and split.limits.ks allows 0.2"),
        ({"auc": 0.9}, r"AUC of at least (0.9\d*|1), and split.limits.auc allows 0.9"),
        ({"class_deviation": 0.001}, r"is off by 0\.\d+, and split.limits.class_deviation allows 0.001"),
    ],
)
def test_a_limit_stops_the_stage_and_leaves_what_was_there(
    tmp_path: Path, limits: dict[str, float], message: str
) -> None:
    params = params_with()
    workspace = pipeline(two_classes(tmp_path, 101), params)
    levels = np.arange(101.0)
    examples = np.load(workspace.examples)
    examples[:] = levels[:, None, None, None].astype(np.uint8)
    np.save(workspace.examples, examples)
    given = ["val" if i >= 80 else None for i in range(101)]
    rewrite(workspace.manifest, brightness=levels, given_split=pd.array(given, dtype="string"))
    before = contents(workspace.split.parent) | contents(tmp_path / "metrics")
    with pytest.raises(UserError, match=message):
        split(params_with(split__limits={"class_deviation": None, "ks": None, "auc": None} | limits), workspace)
    assert contents(workspace.split.parent) | contents(tmp_path / "metrics") == before
    split(params, workspace)
    assert contents(workspace.split.parent) | contents(tmp_path / "metrics") != before


def test_the_hash_keeps_test_images_when_new_ones_come(tmp_path: Path) -> None:
    params = params_with(split__method="hash", split__val_share=0.3, split__test_share=0.3)

    def test_ids(count: int) -> set[str]:
        workspace = pipeline(two_classes(tmp_path, count), params)
        return set(load_split(workspace, "test").ids)

    before = test_ids(40)
    after = test_ids(70)
    assert before < after
    assert {int(Path(name).stem) for name in after - before} <= set(range(40, 70))


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
    manifest = read_table(workspace.manifest, MANIFEST)

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
    with pytest.raises(UserError, match=r"\(19 examples\) and manifest.parquet \(20\) don't list the same examples"):
        split(params, workspace)
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
    workspace.examples.write_bytes(whole)
    np.save(workspace.examples, np.load(workspace.examples)[:, :, 1:])
    assert "examples.npy holds 20×3×11×12, but card.json says 20×3×12×12; run dvc repro clean" in refusal()
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


def test_a_spoilt_header_of_the_store_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Each byte of it replaced by each of some that its parser trips over."""
    path = tmp_path / "examples.npy"
    with ArrayWriter(path, (1, 4, 4)) as writer:
        writer.extend(np.zeros((8, 1, 4, 4), np.uint8))
    whole = path.read_bytes()
    taken = 0
    for place in range(128):
        for byte in b"\xff9(,":
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                assert map_examples(path).shape == (8, 1, 4, 4)
                taken += 1
            except UserError as error:
                message = str(error)
                assert "\n" not in message
    # Only the padding may be other than it was.
    assert taken < 100


def test_a_label_that_no_class_has_is_refused_before_it_reaches_the_network(tmp_path: Path) -> None:
    workspace = pipeline(two_classes(tmp_path), params_with())
    rewrite(workspace.manifest, label=read_table(workspace.manifest, MANIFEST)["label"].replace(1, 7))
    with pytest.raises(UserError, match=r"manifest.parquet has the label 7, but card.json names 2 classes; run dvc"):
        load_split(workspace, "train")
