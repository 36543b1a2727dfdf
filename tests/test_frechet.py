"""The Fréchet distance against its closed form and against other implementations."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from rediffuse.frechet import Gaussian, distances_without_each, frechet_distance


def normal(count: int, dimension: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dimension))


def fd(x: np.ndarray, y: np.ndarray) -> float:
    return frechet_distance(Gaussian.of(x), Gaussian.of(y))


def test_frechet_distance_of_two_gaussians_approaches_its_closed_form() -> None:
    # N(0, I) and N(m, s²I): |m|² + d(1 − s)², here 4·0.5² + 4·(1 − 2)² = 5.
    errors = [abs(fd(normal(n, 4, 0), normal(n, 4, 1, mean=0.5, scale=2.0)) - 5.0) for n in (100, 200_000)]
    assert errors[1] < 0.06
    assert errors[1] < errors[0]


def test_frechet_distance_of_sets_with_exact_moments_is_the_closed_form() -> None:
    def exact(seed: int) -> np.ndarray:
        # Mean 0 and unbiased covariance I, up to rounding.
        points = normal(50, 4, seed)
        return np.linalg.qr(points - points.mean(axis=0))[0] * np.sqrt(49)

    assert fd(exact(0), 0.5 + 2 * exact(1)) == pytest.approx(5.0, rel=1e-12)


def test_frechet_distance_equals_the_textbook_formula_with_a_matrix_root() -> None:
    mixing = np.random.default_rng(2).standard_normal((6, 6))
    x, y = normal(300, 6, 0) @ mixing, normal(250, 6, 1, mean=0.3)
    a, b = np.cov(x.T), np.cov(y.T)
    gap = x.mean(axis=0) - y.mean(axis=0)
    expected = gap @ gap + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert fd(x, y) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_is_exact_where_covariances_are_singular() -> None:
    # 5 points of dimension 20, moved by one vector: equal covariances of rank 4, FD = |vector|².
    x = normal(5, 20, 0)
    assert fd(x, x + 0.5) == pytest.approx(20 * 0.25, rel=1e-12)
    assert fd(x, x) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_is_never_negative_and_needs_two_points() -> None:
    assert fd(normal(50, 8, 3), normal(50, 8, 3)) >= 0
    with pytest.raises(ValueError, match="1 images are too few: at least 2"):
        Gaussian.of(normal(1, 4, 0))


def test_frechet_distance_does_not_depend_on_the_order_of_the_rows() -> None:
    x, y = normal(150, 8, 0), normal(90, 8, 1, mean=0.3)
    shuffled = x[np.random.default_rng(5).permutation(150)], y[np.random.default_rng(6).permutation(90)]
    assert fd(*shuffled) == pytest.approx(fd(x, y), rel=1e-10)


def test_frechet_distance_agrees_with_torch_fidelity_and_torchmetrics() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance

    x, y = normal(400, 16, 0), normal(300, 16, 1, mean=0.3, scale=1.2)
    ours = fd(x, y)
    statistics = (fid_features_to_statistics(torch.from_numpy(rows)) for rows in (x, y))
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-6)

    class Given(torch.nn.Module):
        """The features are the images: one number a pixel."""

        num_features = 16

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)

    metric = FrechetInceptionDistance(feature=Given(), input_img_size=(1, 4, 4)).set_dtype(torch.float64)
    for rows, real in ((x, True), (y, False)):
        metric.update(torch.from_numpy(rows).reshape(-1, 1, 4, 4), real=real)
    assert ours == pytest.approx(float(metric.compute()), rel=1e-6)


@pytest.mark.parametrize("sizes", [[5, 5, 5, 5], [30, 31, 29], [1, 2, 1, 3], [1, 1]])
def test_the_distance_without_each_group_is_that_of_the_others(sizes: list[int]) -> None:
    x, at = normal(sum(sizes), 6, 0, mean=100.0, scale=0.01), np.cumsum(sizes)[:-1]
    groups, real = np.split(x, at), Gaussian.of(normal(50, 6, 1, mean=100.0, scale=0.01))
    for out, distance in enumerate(distances_without_each(real, groups)):
        others = np.concatenate([group for place, group in enumerate(groups) if place != out])
        # A single point has no spread.
        expected = Gaussian.of(others) if len(others) > 1 else Gaussian(others[0], np.zeros((1, 6)))
        assert distance == pytest.approx(frechet_distance(real, expected), rel=1e-6, abs=1e-12)


def test_a_set_is_fitted_block_by_block() -> None:
    x = normal(40_000, 16, 0, mean=3.0).astype(np.float32)
    tracemalloc.start()
    found = Gaussian.of(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * x.nbytes
    assert found.root.shape == (16, 16)
    assert found.root.T @ found.root == pytest.approx(np.cov(x.T.astype(np.float64)), rel=1e-10, abs=1e-12)
