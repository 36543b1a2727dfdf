"""The classifier's AUC against brute force and against its promise, and the other features against closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from rediffuse.data import two_sample
from rediffuse.data.two_sample import box_averaged, classifier_auc, frechet_floor, principal_components


def normal(count: int, dimension: int, seed: int, shift: float = 0.0) -> np.ndarray:
    points = np.random.default_rng(seed).standard_normal((count, dimension))
    points[:, 0] += shift
    return points


def auc_of(first: np.ndarray, second: np.ndarray) -> two_sample.Auc:
    count = len(first) + len(second)
    labels = np.arange(count) >= len(first)
    found = classifier_auc(np.vstack([first, second]), labels, np.zeros(count, np.int64))
    assert found
    return found


def test_box_averages_are_means_of_the_pixels_and_small_images_stay() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 32, 48), dtype=np.uint8)
    expected = images.reshape(3, 2, 16, 2, 16, 3).mean(axis=(3, 5)) / 255
    assert box_averaged(images) == pytest.approx(expected.reshape(3, -1), abs=1e-12)
    small = images[:, :, :9, :16]
    assert box_averaged(small) == pytest.approx(small.reshape(3, -1) / 255, abs=1e-12)
    uneven = np.arange(17 * 17, dtype=np.uint8).reshape(1, 1, 17, 17)
    # 17 = 15 boxes of one pixel and, at the end, one of two.
    assert box_averaged(uneven)[0, -1] == pytest.approx(uneven[0, 0, 15:, 15:].mean() / 255)


def test_components_keep_distances_and_leave_rounding_out() -> None:
    points = normal(50, 3, 0) @ np.random.default_rng(1).standard_normal((3, 40))
    found = principal_components(points)
    assert found.shape == (50, 3)
    assert np.linalg.norm(found[0] - found[1]) == pytest.approx(np.linalg.norm(points[0] - points[1]))
    assert principal_components(np.ones((50, 40))).shape == (50, 0)
    assert principal_components(normal(100, 200, 0)).shape == (100, 32)


def test_delong_is_the_share_of_ordered_pairs_and_its_variance_that_of_the_placements() -> None:
    draw = np.random.default_rng(0)
    scores, second = draw.integers(0, 8, 60).astype(float), draw.random(60) < 0.4
    high, low = scores[second], scores[~second]
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    variance = wins.mean(axis=1).var(ddof=1) / len(high) + wins.mean(axis=0).var(ddof=1) / len(low)
    assert two_sample._delong(scores, second) == pytest.approx((wins.mean(), variance))


def test_the_auc_of_shifted_gaussians_is_the_closed_form() -> None:
    # The best linear score of N(0, 1) and N(1, 1) has an AUC of Φ(1/√2).
    found = auc_of(normal(2000, 5, 0), normal(2000, 5, 1, shift=1.0))
    assert found.low < norm.cdf(1 / np.sqrt(2)) < found.high
    assert found.high - found.low < 0.06
    assert auc_of(normal(100, 2, 0), normal(100, 2, 1, shift=50.0)).low > 0.999


@pytest.mark.parametrize(("dimension", "share"), [(5, 0.5), (30, 0.1)])
def test_about_95_of_100_random_splits_have_one_half_in_their_interval(dimension: int, share: float) -> None:
    points, inside, values = normal(300, dimension, 0), 0, []
    for seed in range(160):
        order = np.random.default_rng(seed).permutation(300)
        found = auc_of(points[order[int(300 * share) :]], points[order[: int(300 * share)]])
        values.append(found.value)
        inside += found.low <= 0.5 <= found.high
    # 95 % of 160 less three standard deviations; without the folds' dependence it would be about 83 %, 133.
    assert 144 <= inside <= 159
    assert abs(np.mean(values) - 0.5) < 4 * np.std(values) / np.sqrt(160)


def test_equal_shares_by_class_do_not_pull_the_auc_below_one_half() -> None:
    # Ten far classes, split with exactly equal shares: dealt out without regard to class, the folds would find less
    # of a class wherever they learned that there is more.
    classes = np.arange(400) % 10
    means = []
    for strata in (classes, np.zeros(400, np.int64)):
        values = []
        for seed in range(40):
            draw = np.random.default_rng(seed)
            points = 3 * np.eye(10)[classes] + draw.standard_normal((400, 10))
            second = np.isin(np.arange(400) // 10, draw.permutation(40)[:10])
            order = draw.permutation(400)
            found = classifier_auc(points[order], second[order], strata[order])
            assert found
            values.append(found.value)
        means.append(np.mean(values))
    assert abs(means[0] - 0.5) < 0.02
    assert means[1] < 0.47


def test_fewer_than_ten_images_of_a_set_give_no_auc() -> None:
    for least, is_none in ((9, True), (10, False)):
        second = np.arange(60) >= 60 - least
        for one in (second, ~second):
            assert (classifier_auc(normal(60, 3, 0), one, np.zeros(60, np.int64)) is None) == is_none


def test_the_floor_is_near_the_halves_for_equal_sets_and_above_for_shifted_ones() -> None:
    def draw() -> np.random.Generator:
        return np.random.default_rng(0)

    between, within = frechet_floor(normal(800, 4, 0), normal(300, 4, 1), draw()) or (0.0, 0.0)
    assert 0 < within < 0.1
    assert between == pytest.approx(within, abs=0.05)
    between, again = frechet_floor(normal(800, 4, 0), normal(300, 4, 1, shift=2.0), draw()) or (0.0, 0.0)
    assert again == within
    assert between == pytest.approx(4, abs=0.5)
    assert frechet_floor(normal(3, 4, 0), normal(300, 4, 1), draw()) is None
    assert frechet_floor(normal(300, 4, 0), normal(1, 4, 1), draw()) is None
    assert frechet_floor(np.zeros((8, 0)), np.zeros((8, 0)), draw()) == (0.0, 0.0)
