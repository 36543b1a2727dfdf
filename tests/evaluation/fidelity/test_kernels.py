"""KID and the MMD against other implementations, closed forms, and what must not change them."""

import numpy as np
import pytest
import torch

from rediffuse.evaluation.fidelity import kernels
from rediffuse.evaluation.fidelity.distances import Points
from rediffuse.evaluation.fidelity.groups import Groups
from rediffuse.evaluation.fidelity.kernels import GaussianKernel, cubic, kernel_distance, kernel_distances
from rediffuse.frechet import Gaussian


def normal(count: int, dimension: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dimension))


def test_kid_agrees_with_torch_fidelity() -> None:
    from torch_fidelity.metric_kid import kernel_mmd

    # Its unbiased estimate wants sets of equal size.
    x, y = normal(300, 16, 0), normal(300, 16, 1, mean=0.2, scale=1.1)
    theirs = kernel_mmd(x, y, kid_kernel="poly", kid_kernel_poly_degree=3)
    assert kernel_distance(x, y) == pytest.approx(float(theirs), rel=1e-6)


def test_kid_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = normal(300, 12, 0), normal(300, 12, 1, scale=1.2)
    theirs = poly_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert kernel_distance(x, y) == pytest.approx(float(theirs), rel=1e-6)


def test_the_mmd_agrees_with_torch_fidelity_and_with_the_kernel_of_scikit_learn() -> None:
    from sklearn.metrics.pairwise import rbf_kernel
    from torch_fidelity.metric_kid import kernel_mmd

    x, y, sigma = normal(300, 16, 0), normal(300, 16, 1, mean=0.2, scale=1.1), 4.0
    ours = kernel_distance(x, y, GaussianKernel(sigma))
    theirs = kernel_mmd(x, y, kid_kernel="rbf", kid_kernel_rbf_sigma=sigma)
    assert ours == pytest.approx(float(theirs), rel=1e-6)

    x = normal(400, 16, 2)
    own, other, across = (rbf_kernel(a, b, gamma=1 / (2 * sigma**2)) for a, b in ((x, x), (y, y), (x, y)))
    textbook = (own.sum() - 400) / (400 * 399) + (other.sum() - 300) / (300 * 299) - 2 * across.mean()
    assert kernel_distance(x, y, GaussianKernel(sigma)) == pytest.approx(textbook, rel=1e-6)


def test_the_bandwidth_is_the_root_mean_squared_distance_of_two_points() -> None:
    x = normal(60, 5, 0, scale=3.0)
    squared = ((x[:, None] - x) ** 2).sum(axis=2)
    expected = np.sqrt(squared.sum() / (60 * 59))
    assert GaussianKernel.suited_to(Gaussian.of(x)).bandwidth == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kernel", [cubic, GaussianKernel(2.0)])
def test_both_are_unbiased(kernel: kernels.Kernel) -> None:
    draw = np.random.default_rng(0)
    drawn = (draw.standard_normal((count, 4)) for _ in range(2000) for count in (20, 30))
    estimates = [kernel_distance(x, y, kernel) for x, y in zip(drawn, drawn, strict=True)]
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / np.sqrt(2000)


def test_the_mmd_of_identical_and_of_disjoint_sets_has_a_closed_form() -> None:
    x, kernel = normal(100, 4, 0), GaussianKernel(3.0)
    own = kernels.mean_within(Points(x), (kernel,))[0]
    assert kernel_distance(x, x, kernel) == pytest.approx(-2 * (1 - own) / 100, rel=1e-9)
    far = x + 1000.0
    assert kernel_distance(x, far, kernel) == pytest.approx(2 * own, rel=1e-9)
    collapsed = np.repeat(x[:1], 100, axis=0)
    assert kernel_distance(collapsed, collapsed, kernel) == pytest.approx(0, abs=1e-12)


def test_training_images_that_are_all_alike_leave_an_mmd() -> None:
    alike = np.ones((10, 3))
    kernel = GaussianKernel.suited_to(Gaussian.of(alike))
    assert kernel_distance(alike, alike, kernel) == 0
    assert kernel_distance(alike, normal(10, 3, 0), kernel) == 1


def test_kid_uses_subsets_of_the_size_asked_for_or_all() -> None:
    x, y = normal(40, 4, 0), normal(30, 4, 1)
    whole = kernel_distances(x[:30], y, subsets=3, size=1000, draw=np.random.default_rng(0))
    assert whole == pytest.approx(kernel_distance(x[:30], y), rel=1e-9)
    some = kernel_distances(x, y, subsets=50, size=10, draw=np.random.default_rng(0))
    assert len(some) == 50
    assert some.std() > 0


@pytest.mark.parametrize("kernel", [cubic, GaussianKernel(2.0)])
@pytest.mark.parametrize("size", [43, 60, 7])
def test_the_distance_without_a_group_is_that_of_the_others(kernel: kernels.Kernel, size: int) -> None:
    x, y = normal(80, 6, 0), normal(size, 6, 1, mean=0.5)
    groups, real, made = Groups.of(size), Points(x), Points(y)
    (own_x,) = kernels.mean_within(real, (kernel,))
    (across,), (own_y,) = kernels.between(real, made, (kernel,), groups), kernels.within(made, (kernel,), groups)
    value, without = kernels.distance_of(own_x, across, own_y, 80, groups)
    assert value == pytest.approx(kernel_distance(x, y, kernel), rel=1e-9)
    expected = [kernel_distance(x, y[groups.members != group], kernel) for group in range(groups.count)]
    assert without == pytest.approx(np.array(expected), rel=1e-9)


@pytest.mark.parametrize("kernel", [cubic, GaussianKernel(2.0)])
def test_a_centre_to_see_the_sets_from_changes_no_kernel(kernel: kernels.Kernel) -> None:
    x, y = normal(80, 6, 0, mean=2.0), normal(60, 6, 1, mean=2.5)
    groups, centre = Groups.of(60), x.mean(axis=0)
    seen, plain = ((Points(x, centre=at), Points(y, centre=at)) for at in (centre, None))
    for sums in (kernels.between, lambda _, *rest: kernels.within(*rest)):
        assert sums(*seen, (kernel,), groups)[0] == pytest.approx(sums(*plain, (kernel,), groups)[0], rel=1e-11)


@pytest.mark.parametrize("kernel", [cubic, GaussianKernel(2.0)])
@pytest.mark.parametrize("block", [1, 64, 777, 10_000])
def test_block_size_and_row_order_change_no_kernel_distance(kernel: kernels.Kernel, block: int) -> None:
    x, y = normal(150, 8, 0), normal(90, 8, 1, mean=0.3)
    shuffled = x[np.random.default_rng(5).permutation(150)], y[np.random.default_rng(6).permutation(90)]
    assert kernel_distance(*shuffled, kernel, block) == pytest.approx(kernel_distance(x, y, kernel), rel=1e-10)
