"""Authenticity and ratios of points whose neighbours are known."""

import numpy as np
from scipy.stats import gamma

from rediffuse.evaluation.memorisation.authenticity import (
    Nearness,
    TrainingSet,
    authenticity_scores,
    pixel_copies,
    suspicious_pairs,
)

# 10 stands twice, and its nearest other lies 4 away.
TRAIN = np.array([[0], [10], [14], [10], [30]], np.float32)


def test_a_duplicate_is_not_the_nearest_other_of_its_like() -> None:
    found = TrainingSet.of(TRAIN).nearness(np.array([[11], [9.5], [-5], [-12], [30]], np.float32))
    assert found.train.tolist() == [1, 1, 0, 0, 4]
    assert found.distances.tolist() == [1, 0.5, 5, 12, 0]
    assert found.apart.tolist() == [4, 4, 10, 10, 16]
    assert found.ratios.tolist() == [0.25, 0.125, 0.5, 1.2, 0]
    assert found.authentic.tolist() == [False, False, False, True, False]


def test_the_most_suspicious_come_first_with_the_training_images_nearest_to_them() -> None:
    features = np.array([[11], [9.5], [-5]], np.float32)
    found = suspicious_pairs(TrainingSet.of(TRAIN).nearness(features), features, TRAIN, images=2, count=3)
    assert found.generated.tolist() == [1, 0]
    assert found.train.tolist() == [[1, 3, 2], [1, 3, 2]]
    assert found.distances.tolist() == [[0.5, 0.5, 4.5], [1, 1, 3]]
    assert found.ratios.tolist() == [0.125, 0.25]
    table = found.table(tuple("abcde"))
    assert table["train"].tolist() == ["b", "b"]


def test_training_images_that_all_look_alike_tell_only_equal_from_different() -> None:
    found = TrainingSet.of(np.zeros((3, 1), np.float32)).nearness(np.array([[-0.0], [2.0]], np.float32))
    assert found.ratios.tolist() == [0, 1]
    assert found.authentic.tolist() == [False, True]


def test_pixel_copies_are_counted_pixel_for_pixel() -> None:
    train = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), np.uint8)
    other = train[:1].copy()
    other[0, 0, 0, 0] ^= 1
    assert pixel_copies(train, np.concatenate([train[[3, 3, 1]], other]), other) == [3, 0]


def test_intervals_of_copies_and_of_the_median_ratio_cover_what_they_are_of_many_images() -> None:
    draw, covered = np.random.default_rng(0), np.zeros(2, int)
    one = np.zeros(1, np.int64)

    def near(scale: float, count: int) -> Nearness:
        ratios = scale * draw.gamma(2.0, size=count)
        return Nearness(one.repeat(count), ratios, np.ones(count))

    # A hundredth of the gamma distribution lies below its quantile; of what is half as far, more.
    truths = gamma.cdf(2 * gamma.ppf(0.01, 2), 2), gamma.median(2) / 2
    for _ in range(100):
        found = authenticity_scores(near(0.5, 1440), near(1.0, 180), draw)
        for place, (name, truth) in enumerate(zip(("copies", "nearest_ratio"), truths, strict=True)):
            covered[place] += found[f"{name}_low"] <= truth <= found[f"{name}_high"]
    assert (covered >= 90).all()
