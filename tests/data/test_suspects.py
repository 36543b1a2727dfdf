from functools import cache

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from rediffuse.data.checks import label_suspect
from rediffuse.data.features import Features
from rediffuse.data.suspects import label_suspects
from tests.data.viewed import described, digits, hashes, views


@cache
def pictures() -> np.ndarray:
    return views(digits()[0])


def spoiled(share: float, seed: int = 0) -> np.ndarray:
    """The digits' labels with a share of them made another."""
    labels = digits()[1].copy()
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(labels))[: int(share * len(labels))]
    labels[rows] = (labels[rows] + generator.integers(1, 10, len(rows))) % 10
    return labels


def verdict(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    keys = hashes(len(labels), seed)
    return label_suspects(described(pictures(), keys), labels, keys, np.arange(len(labels)))


@pytest.mark.parametrize(("share", "recall"), [(0.005, 0.8), (0.02, 0.8), (0.1, 0.5)])
def test_wrong_labels_are_found_and_put_right(share: float, recall: float) -> None:
    truth, labels = digits()[1], spoiled(share)
    probability, suggestion = verdict(labels)
    found, wrong = label_suspect(probability, suggestion, 0.1), labels != truth
    assert found[wrong].mean() >= recall
    assert wrong[found].mean() >= 0.95
    assert (suggestion == truth)[found & wrong].mean() >= 0.95


def test_labels_as_they_are_stay_unsuspected() -> None:
    probability, suggestion = verdict(digits()[1])
    assert label_suspect(probability, suggestion, 0.1).sum() <= 1
    assert probability.mean() > 0.99
    assert (suggestion >= 0).mean() < 0.02


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2])
def test_labels_of_a_probability_are_right_as_often_as_it_says(share: float) -> None:
    labels = spoiled(share)
    probability, _ = verdict(labels)
    right = labels == digits()[1]
    assert abs(probability.mean() - right.mean()) < 0.02
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1)):
        inside = (probability > low) & (probability <= high)
        if inside.sum() >= 50:
            assert abs(right[inside].mean() - probability[inside].mean()) < 0.15


def test_results_do_not_depend_on_the_order_of_the_rows_nor_on_threads() -> None:
    labels, keys = spoiled(0.05), hashes(1797)
    labels[::50] = -1
    groups = np.arange(1797) // 3
    with threadpool_limits(2):
        probability, suggestion = label_suspects(described(pictures(), keys), labels, keys, groups)
    with threadpool_limits(1):
        again = label_suspects(described(pictures(), keys), labels, keys, groups)
    assert again[0].tobytes() == probability.tobytes()
    assert again[1].tobytes() == suggestion.tobytes()
    order = np.random.default_rng(4).permutation(1797)
    renumbered = np.random.default_rng(5).permutation(1797)[groups]
    features = described(pictures()[order], keys[order])
    moved = label_suspects(features, labels[order], keys[order], renumbered[order])
    np.testing.assert_allclose(moved[0], probability[order], atol=5e-4)
    assert (moved[1] != suggestion[order]).mean() < 0.002


def test_a_copy_in_the_training_folds_does_not_confirm_a_wrong_label() -> None:
    """Near duplicates share a fold. Wrongly labelled images, thirty times each: known as copies, they are found."""
    rows = np.concatenate([np.arange(1797), np.repeat(np.arange(10), 30)])
    labels = digits()[1][rows].copy()
    copies = rows < 10
    labels[copies] = (labels[copies] + 3) % 10
    keys = hashes(len(rows))
    features = described(pictures()[rows], keys)
    alone, _ = label_suspects(features, labels, keys, np.arange(len(rows)))
    together, _ = label_suspects(features, labels, keys, rows.astype(np.int64))
    assert np.median(alone[copies]) > 0.9
    assert np.median(together[copies]) < 0.1


def points(labels: np.ndarray) -> Features:
    """Two far clusters, or as many as there are labels."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((labels.max() + 2, 48)) * 3
    cloud = (centres[labels] + generator.standard_normal((len(labels), 48))).astype(np.float32)
    return Features(cloud, np.zeros(len(labels), np.float32))


def test_rows_without_a_label_and_small_classes_have_no_verdict() -> None:
    labels = np.repeat(np.array([-1, 0, 2, 5], np.int32), [30, 40, 19, 20])
    features = points(np.maximum(labels, 0))
    probability, suggestion = label_suspects(features, labels, hashes(109), np.arange(109))
    judged = (labels == 0) | (labels == 5)
    assert np.isfinite(probability).tolist() == judged.tolist()
    assert set(suggestion[~judged]) == {-1}
    assert probability[judged].min() > 0.5


@pytest.mark.parametrize("labels", [np.zeros(50), np.full(50, -1), np.repeat([0, 1], [31, 19]), np.zeros(0)])
def test_fewer_than_two_classes_have_no_suspects(labels: np.ndarray) -> None:
    count = len(labels)
    features = Features(np.zeros((count, 48), np.float32), np.zeros(count, np.float32))
    probability, suggestion = label_suspects(features, labels.astype(np.int32), hashes(count), np.arange(count))
    assert np.isnan(probability).all()
    assert (suggestion == -1).all()


def test_images_that_are_all_alike_have_no_suspects() -> None:
    labels = np.repeat(np.array([0, 1], np.int32), [60, 40])
    features = Features(np.zeros((100, 48), np.float32), np.zeros(100, np.float32))
    probability, suggestion = label_suspects(features, labels, hashes(100), np.arange(100))
    assert not label_suspect(probability, suggestion, 0.1).any()
    assert np.isfinite(probability).all()
