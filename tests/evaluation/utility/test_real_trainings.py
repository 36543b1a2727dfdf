"""Classifiers of real images: what is kept of them, what is trained once, and files that don't fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.real_trainings import (
    FILE,
    check_labels,
    read_real_trainings,
    some_real,
    train_on_real,
    write_real_trainings,
)
from rediffuse.evaluation.utility.settings import UtilitySettings
from tests.evaluation.utility.bench import NAMES, Bench, examples


def test_the_first_of_them_is_the_judge_and_the_others_are_not(bench: Bench) -> None:
    judged = classify(bench.judge, extract(bench.judge, bench.test.images)) == bench.test.labels
    everything = bench.real.hits["all"]
    assert np.array_equal(everything[0], judged)
    assert not np.array_equal(everything[1], judged)
    assert bench.real.hits["50"].shape == everything.shape == (2, 300)
    metrics = bench.real.metrics()
    assert metrics["50"]["accuracy"] < metrics["all"]["accuracy"] - 0.05
    assert metrics["all"]["accuracy"] == everything.mean()


def test_a_count_of_all_images_is_not_trained_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    monkeypatch.setattr(UtilitySettings, "trained", lambda self, pairs, *_: trained.append(len(pairs)) or bench.judge)
    settings = replace(bench.settings, repeats=2, real_counts=(600, 100, "all", 601))
    train, test = (Pairs(split.images, split.labels) for split in (bench.train, bench.test))
    made = train_on_real(train, test, bench.judge, settings)
    assert trained == [100, 100, 600]
    assert made.hits.keys() == {"600", "100", "all"}
    assert np.array_equal(made.hits["600"], made.hits["all"])


def test_the_real_images_are_drawn_anew_for_each_repeat_and_alike_for_each_model(bench: Bench) -> None:
    train = Pairs(np.arange(600, dtype=np.int64)[:, None, None, None], bench.train.labels)
    first, again, other = (some_real(train, 100, bench.settings, repeat) for repeat in (0, 0, 1))
    assert np.array_equal(first.images, again.images)
    shared = np.intersect1d(first.images, other.images)
    assert len(shared) < 50
    assert set(first.images.ravel()) < set(some_real(train, 200, bench.settings, 0).images.ravel())
    assert np.array_equal(train.labels[first.images.ravel()], first.labels)
    assert np.bincount(first.labels, minlength=10).min() >= 8


def test_they_are_written_and_read_as_they_are_always_in_the_same_bytes(bench: Bench, tmp_path: Path) -> None:
    labels = bench.train.labels, bench.test.labels
    contents = []
    for _ in range(2):
        write_real_trainings(tmp_path, bench.real)
        contents.append((tmp_path / FILE).read_bytes())
    assert contents[0] == contents[1]
    read = read_real_trainings(tmp_path, *labels, bench.settings)
    assert read.hits.keys() == {"50", "all"}
    assert all(np.array_equal(read.hits[name], hits) for name, hits in bench.real.hits.items())


def test_a_file_of_other_settings_is_a_users_error(bench: Bench, tmp_path: Path) -> None:
    labels = bench.train.labels, bench.test.labels
    with pytest.raises(UserError, match=r"real_accuracy\.safetensors can't be read: .*run the stage reference again"):
        read_real_trainings(tmp_path, *labels, bench.settings)
    write_real_trainings(tmp_path, bench.real)
    with pytest.raises(UserError, match=r"holds nothing for 70 real images, .*run the stage reference again"):
        read_real_trainings(tmp_path, *labels, replace(bench.settings, real_counts=(70,)))
    with pytest.raises(UserError, match=r"holds \(2, 300\) for 50 real images, .* ask for \(3, 300\)"):
        read_real_trainings(tmp_path, *labels, replace(bench.settings, repeats=3))


def test_a_split_without_any_label_is_refused_only_where_there_are_classes() -> None:
    images = np.zeros((3, 1, 8, 8), np.uint8)
    splits = {"train": examples(images, np.array([0, -1, 1])), "test": examples(images, np.full(3, -1))}
    check_labels(splits, ())
    with pytest.raises(UserError, match=r"no image of the split test \(3 images\) has a label"):
        check_labels(splits, NAMES)
