"""The checks of a split find what is planted, stay quiet where nothing is, and stop at a limit."""

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from rediffuse.data.representativeness import _pixels, compare, enforce, measure
from rediffuse.data.splitting import PLACES, assign
from rediffuse.errors import UserError
from tests.data.manifests import manifest


def measured(table: pd.DataFrame, names: list[str], classes: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    return measure(table, np.array([PLACES.index(name) for name in names]), classes)


def pictures(count: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Noise around a grey level of its own for each image, in two classes, with the manifest's columns."""
    draw = np.random.default_rng(seed)
    levels = draw.normal(100, 20, (count, 1, 1, 1))
    images = (levels + draw.normal(0, 20, (count, 1, 12, 12))).clip(0, 255).astype(np.uint8)
    flat = images.reshape(count, -1)
    table = manifest(
        [i % 2 for i in range(count)],
        brightness=flat.mean(axis=1),
        contrast=flat.std(axis=1),
        entropy=[np.unique(row // 8).size / 4 for row in flat],
    )
    return table, images


def compared(table: pd.DataFrame, images: np.ndarray, *, method: str = "stratified", seed: int = 0) -> dict[str, Any]:
    places = assign(table, "ab", method=method, val_share=0.2, test_share=0.2, seed=seed)
    return compare(table, places, images, method=method, seed=seed)


def test_measure_counts_by_split_class_group_and_overlap() -> None:
    table = manifest(
        [0, 1, 0, 1, 1, 0, 1],
        group=list("abcdxxd"),
        given_split=["train", None, "val", "test", "train", "val", "val"],
    )
    assert measured(table, ["train", "train", "val", "test", "overlap", "val", "overlap"]) == {
        "counts": {"train": 2, "val": 2, "test": 1, "overlap": 2},
        "classes": {"train": {"a": 1, "b": 1}, "val": {"a": 2, "b": 0}, "test": {"a": 0, "b": 1}},
        "greatest_deviation": pytest.approx(0.6),
        "groups": {"total": 5, "straddling": 0},
        "overlap": {"train_val": 1, "train_test": 0, "val_test": 1},
    }


def test_a_class_without_images_and_images_without_a_label_are_counted_too() -> None:
    metrics = measured(manifest([-1, 1, 1, 1]), ["train", "train", "val", "test"])
    assert metrics["classes"]["train"] == {"a": 0, "b": 1}
    assert metrics["counts"]["train"] == 2
    assert metrics["greatest_deviation"] == pytest.approx(0.25)


def test_a_straddling_group_is_a_bug_and_an_overlap_is_none() -> None:
    table = manifest([0, 0, 0], group=["a", "a", "b"])
    assert measured(table, ["test", "overlap", "train"])["groups"] == {"total": 2, "straddling": 0}
    with pytest.raises(RuntimeError, match="1 duplicate groups straddle two splits, 'a' for one"):
        measured(table, ["test", "train", "val"])


@pytest.mark.parametrize("method", ["stratified", "hash"])
def test_random_splits_look_alike(method: str) -> None:
    table, images = pictures(800)
    inside, probabilities, ratios = 0, [], []
    for seed in range(8):
        found = compared(table, images, method=method, seed=seed)
        for part in ("val", "test"):
            inside += found[part]["auc"]["low"] <= 0.5 <= found[part]["auc"]["high"]
            probabilities += found[part]["ks_p"].values()
            ratios.append(found[part]["fd_floor"] / found[part]["fd_train_halves"])
    assert inside >= 14
    assert min(probabilities) > 0.002
    assert np.mean(ratios) == pytest.approx(1, abs=0.15)


def test_a_brighter_val_set_is_found_and_stopped_by_a_limit() -> None:
    table, images = pictures(600)
    given = np.where(table["brightness"].rank() > 480, "val", None)
    table = table.assign(given_split=given)
    found = compared(table, images)
    train = ~(table["brightness"].rank() > 480)
    assert found["val"]["ks"]["brightness"] == pytest.approx(1.0)
    assert found["val"]["ks_p"]["brightness"] < 1e-6
    assert found["val"]["auc"]["low"] > 0.95
    assert found["val"]["fd_floor"] > 5 * found["val"]["fd_train_halves"]
    assert found["test"]["ks"]["brightness"] < 0.2
    assert found["test"]["auc"]["low"] < 0.5
    assert train.sum() == 480

    metrics = {"greatest_deviation": 0.03} | found
    quiet = {"class_deviation": 0.03, "ks": None, "auc": None}
    enforce(metrics, **quiet)
    for limits, message in (
        ({"ks": 0.5}, r"brightness of val and train is apart by 1, and split.limits.ks allows 0.5"),
        ({"auc": 0.9}, r"tells val from train with an AUC of at least 0.9\d*, and split.limits.auc allows 0.9"),
        ({"class_deviation": 0.029}, r"off by 0.03, and split.limits.class_deviation allows 0.029"),
    ):
        with pytest.raises(UserError, match=message):
            enforce(metrics, **(quiet | limits))
    # The value of the AUC may lie above: only the interval's lower end counts.
    wide = copy.deepcopy(metrics)
    wide["val"]["auc"] = {"value": 0.8, "low": 0.55, "high": 1.0}
    wide["test"]["auc"] = None
    enforce(wide, class_deviation=None, ks=None, auc=0.6)


def test_the_distance_of_brightness_is_scipys_over_all_images_and_not_over_a_sample() -> None:
    table, images = pictures(600)
    places = assign(table, "ab", method="stratified", val_share=0.2, test_share=0.2, seed=0)
    values = table["brightness"].to_numpy(float)
    expected = ks_2samp(values[places == 0], values[places == 2]).statistic
    found = compare(table, places, images, method="stratified", seed=0)["test"]["ks"]["brightness"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_copies_make_no_interval_narrower_and_are_not_learned_and_scored_at_once() -> None:
    # Forty images, twenty near copies of each: counted by the row, two of three intervals miss one half; dealt out one
    # by one, the copies would be told by heart.
    inside, widths = 0, []
    for seed in range(12):
        table, images = pictures(60, seed)
        draw = np.random.default_rng(seed)
        copies = np.repeat(images, 20, axis=0).astype(int) + draw.integers(-2, 3, (1200, 1, 12, 12))
        table = table.loc[table.index.repeat(20)].reset_index(drop=True)
        table = table.assign(id=[f"copy-{i}" for i in range(1200)])
        places = np.repeat(np.arange(60) % 3, 20)
        found = compare(table, places, copies.clip(0, 255).astype(np.uint8), method="hash", seed=seed)
        for part in ("val", "test"):
            inside += found[part]["auc"]["low"] <= 0.5 <= found[part]["auc"]["high"]
            widths.append(found[part]["auc"]["high"] - found[part]["auc"]["low"])
    assert inside >= 22
    assert min(widths) > 0.2


def test_large_images_are_read_in_small_blocks() -> None:
    largest: list[int] = []

    class Weighed(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            read = np.asarray(super().__getitem__(key))
            largest.append(read.nbytes)
            return read

    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 3, 1024, 1024)).view(Weighed)
    pixels = _pixels(images, np.arange(40)[::-1])
    assert max(largest) <= 2**24
    assert len(largest) == 8
    assert pixels[:, 0].tolist() == pytest.approx([i / 255 for i in range(39, -1, -1)])


def test_no_number_depends_on_the_order_of_the_rows_and_the_sample_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rediffuse.data.representativeness._SAMPLE", 100)
    table, images = pictures(600)
    order = np.random.default_rng(1).permutation(600)
    reads: list[int] = []

    class Counted(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            reads.append(len(key))
            return np.asarray(super().__getitem__(key))

    assert compared(table.iloc[order].reset_index(drop=True), images[order]) == compared(table, images.view(Counted))
    assert sum(reads) == 300


def test_parts_too_small_to_compare_and_images_without_contrast_give_no_numbers_and_no_error() -> None:
    table = manifest([0, 1] * 8)
    found = compared(table, np.full((16, 1, 8, 8), 7, np.uint8))
    assert found["val"]["auc"] is None
    assert found["val"]["ks"] == {"brightness": 0, "entropy": 0}
    assert found["val"]["fd_floor"] == 0
    places = np.array([0] * 14 + [1, 2])
    assert compare(table, places, np.zeros((16, 3, 8, 8), np.uint8), method="hash", seed=0)["test"]["fd_floor"] is None
