"""The distances against closed forms, against other implementations, and against what must not change them."""

import numpy as np
import pytest
import torch

from rediffuse.evaluation.fidelity.measures import (
    Manifold,
    harmonic_mean,
    kernel_distance,
    kernel_distances,
    precision_and_recall,
)


def normal(count: int, dimension: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dimension))


def both(real: np.ndarray, generated: np.ndarray, k: int = 3, block: int = 2048) -> tuple[float, float]:
    return precision_and_recall(Manifold.of(real, k, block), Manifold.of(generated, k, block))


def test_kernel_distance_agrees_with_torch_fidelity() -> None:
    from torch_fidelity.metric_kid import kernel_mmd

    x, y = normal(400, 16, 0), normal(300, 16, 1, mean=0.2, scale=1.1)
    # Its unbiased estimate wants sets of equal size.
    theirs = kernel_mmd(x[:300], y, kid_kernel="poly", kid_kernel_poly_degree=3)
    assert kernel_distance(x[:300], y) == pytest.approx(float(theirs), rel=1e-6)


def test_kernel_distance_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = normal(300, 12, 0), normal(300, 12, 1, scale=1.2)
    theirs = poly_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert kernel_distance(x, y) == pytest.approx(float(theirs), rel=1e-6)


def test_precision_and_recall_agree_with_torch_fidelity() -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, generated = normal(400, 8, 0), normal(300, 8, 1, mean=0.4, scale=0.8)
    # torch-fidelity's first set is the generated one.
    theirs = prc_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), prc_neighborhood=3, prc_batch_size=100, verbose=False
    )
    precision, recall = both(real, generated)
    assert 0.1 < recall < precision < 1
    assert precision == pytest.approx(float(theirs["precision"]), rel=1e-6)
    assert recall == pytest.approx(float(theirs["recall"]), rel=1e-6)
    assert harmonic_mean(precision, recall) == pytest.approx(float(theirs["f_score"]), rel=1e-6)


def test_kernel_distance_is_unbiased() -> None:
    draw = np.random.default_rng(0)
    estimates = [kernel_distance(draw.standard_normal((20, 4)), draw.standard_normal((30, 4))) for _ in range(2000)]
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / np.sqrt(2000)


def test_kernel_distances_use_subsets_of_the_size_asked_for_or_all() -> None:
    x, y = normal(40, 4, 0), normal(30, 4, 1)
    whole = kernel_distances(x[:30], y, subsets=3, size=1000, draw=np.random.default_rng(0))
    assert whole == pytest.approx(kernel_distance(x[:30], y), rel=1e-9)
    some = kernel_distances(x, y, subsets=50, size=10, draw=np.random.default_rng(0))
    assert len(some) == 50
    assert some.std() > 0


def test_identical_sets_have_precision_and_recall_one() -> None:
    x = normal(200, 8, 0)
    assert both(x, x) == (1.0, 1.0)


def test_far_sets_have_precision_and_recall_zero() -> None:
    assert both(normal(100, 4, 0), normal(100, 4, 1, mean=100.0)) == (0.0, 0.0)


def test_a_collapsed_set_is_precise_and_recalls_next_to_nothing() -> None:
    real = normal(500, 4, 0)
    centre = real[np.argmin((real**2).sum(axis=1))]
    precision, recall = both(real, centre + 1e-3 * normal(500, 4, 1))
    assert precision == 1.0
    assert recall < 0.01


def test_a_copy_of_the_kth_neighbour_lies_on_the_surface_and_inside_whatever_the_rounding() -> None:
    # Away from the origin |a|² + |b|² − 2ab rounds otherwise for one pair of points than for a block of them.
    points = 10 + normal(100, 64, 0)
    manifold = Manifold.of(points, 3)
    order = np.argsort(((points[:, None] - points) ** 2).sum(axis=2), axis=1)
    for ball, (kth, next_one) in enumerate(order[:, 3:5]):
        alone = Manifold(points[ball : ball + 1], manifold.squared_radii[ball : ball + 1], block=1)
        assert alone.contains(points[[kth, next_one]]).tolist() == [True, False]


def test_a_missing_class_lowers_recall_by_its_share() -> None:
    def classes(present: range, seed: int) -> np.ndarray:
        return np.concatenate([normal(100, 6, seed + label, mean=20.0 * label, scale=0.5) for label in present])

    real = classes(range(5), 0)
    whole, without = (both(real, classes(range(count), 100)) for count in (5, 4))
    assert whole[1] - without[1] == pytest.approx(0.2, abs=0.02)
    assert without[0] == pytest.approx(whole[0], abs=0.05)


def test_the_balls_are_closed_and_leave_their_own_centre_out() -> None:
    # On a line at 0, 1, 3: with k = 1 the radii are 1, 1 and 2.
    manifold = Manifold.of(np.array([[0.0], [1.0], [3.0]]), 1)
    assert manifold.squared_radii == pytest.approx([1, 1, 4])
    inside = manifold.contains(np.array([[-1.0], [-1.001], [5.0], [5.001]]))
    assert inside.tolist() == [True, False, True, False]


@pytest.mark.parametrize("block", [1, 3, 7, 64, 1000])
def test_block_size_and_row_order_change_nothing(block: int) -> None:
    real, generated = normal(150, 8, 0), normal(90, 8, 1, mean=0.3)
    shuffled = real[np.random.default_rng(5).permutation(150)], generated[np.random.default_rng(6).permutation(90)]
    assert both(*shuffled, block=block) == both(real, generated)
    assert kernel_distance(*shuffled) == pytest.approx(kernel_distance(real, generated), rel=1e-10)


def test_too_few_points_for_k_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images are too few: at least 4"):
        Manifold.of(normal(3, 2, 0), 3)


def test_harmonic_mean_of_nothing_is_zero() -> None:
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean(1.0, 0.5) == pytest.approx(2 / 3)
