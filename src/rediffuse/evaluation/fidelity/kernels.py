"""Kernel distances: the unbiased squared MMD of two sets of features (Gretton et al., 2012). All in float64.

- KID (Bińkowski et al., 2018): the kernel (x·y/d + 1)³, the mean over random subsets.
- MMD in the way of CMMD (Jayasumana et al., 2024): the kernel exp(−|x − y|²/2σ²), which tells all distributions
  apart, over whole sets and times 1000. Their σ = 10 is for CLIP's features; here σ² is the mean squared distance of
  two real training images, 2·tr Σ: it needs no draw and suits every extractor.

Both can be below 0, by chance, where the sets agree.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.fidelity.distances import BLOCK, Matrix, Points, products, squared
from rediffuse.evaluation.fidelity.groups import Groups
from rediffuse.frechet import Gaussian

SCALE = 1000.0
"""Of the MMD, as CMMD prints it."""

_NO_WIDTH = 1e-200

Kernel = Callable[[Points, Points, slice, Matrix], Matrix]
"""Kernel values of some rows of one set and all of another, of their inner products (rows, M), which it may use up."""


def cubic(a: Points, b: Points, rows: slice, product: Matrix) -> Matrix:
    """(x·y/d + 1)³ of the features themselves, wherever they are seen from."""
    if a.centre is not None:
        product += a.beyond[rows, None]
        product += b.beyond
    product /= a.rows.shape[1]
    product += 1
    cube = np.multiply(product, product)
    return np.multiply(cube, product, out=product)


@dataclass(frozen=True)
class GaussianKernel:
    """exp(−|x − y|²/2σ²); for σ = 0 (all training images alike) 1 where the points are equal, else 0."""

    bandwidth: float

    @classmethod
    def suited_to(cls, gaussian: Gaussian) -> "GaussianKernel":
        """With σ² the mean squared distance of two points of the set that `gaussian` is fitted to, 2·tr Σ."""
        return cls(float(np.sqrt(2 * (gaussian.root**2).sum())))

    def __call__(self, a: Points, b: Points, rows: slice, product: Matrix) -> Matrix:
        values = squared(a, b, rows, product)
        values /= -2 * max(self.bandwidth**2, _NO_WIDTH)
        return np.exp(values, out=values)


def within(points: Points, kernels: tuple[Kernel, ...], groups: Groups, block: int = BLOCK) -> list[Matrix]:
    """For each kernel its sums over the pairs of two groups, (G, G), no point with itself."""
    sums = [np.zeros((groups.count, groups.count)) for _ in kernels]
    for rows, values in _values(points, points, kernels, block):
        own = np.arange(rows.start, rows.stop)
        for total, value in zip(sums, values, strict=True):
            value[own - rows.start, own] = 0
            np.add.at(total, groups.members[rows], np.add.reduceat(value, groups.starts, axis=1))
    return sums


def between(x: Points, y: Points, kernels: tuple[Kernel, ...], groups: Groups, block: int = BLOCK) -> list[Matrix]:
    """For each kernel the sum over the pairs of a point of `x` and one of each group of `y`, (G,)."""
    sums = [np.zeros(groups.count) for _ in kernels]
    for _, values in _values(x, y, kernels, block):
        for total, value in zip(sums, values, strict=True):
            total += np.add.reduceat(value.sum(axis=0), groups.starts)
    return sums


def distance_of(own_x: float, across: Matrix, own_y: Matrix, count: int, groups: Groups) -> tuple[float, Matrix]:
    """The unbiased squared MMD, and without each group of `y` in turn, (G,).

    Args:
        own_x: the mean of the kernel over the pairs of different points of `x`.
        across: `between` x and y, (G,).
        own_y: `within` y, (G, G).
        count: points of `x`.
    """

    def joined(pairs: NDArray[np.float64], crossed: NDArray[np.float64], left: NDArray[np.int64]) -> Matrix:
        # A single point has no pairs.
        value: Matrix = own_x + pairs / np.maximum(left * (left - 1), 1) - 2 * crossed / (count * np.maximum(left, 1))
        return value

    all_pairs, all_crossed, size = own_y.sum(), across.sum(), np.array(groups.size)
    # Pairs with a member in the group go: its row and its column, the block they share once.
    gone = own_y.sum(axis=0) + own_y.sum(axis=1) - np.diag(own_y)
    without = joined(all_pairs - gone, all_crossed - across, groups.size - groups.sizes)
    return float(joined(all_pairs, all_crossed, size)), without


def mean_within(points: Points, kernels: tuple[Kernel, ...], block: int = BLOCK) -> list[float]:
    """For each kernel its mean over the pairs of different points."""
    pairs = len(points) * (len(points) - 1)
    return [float(total[0, 0]) / pairs for total in within(points, kernels, Groups.one(len(points)), block)]


def kernel_distance(
    x: NDArray[np.floating], y: NDArray[np.floating], kernel: Kernel = cubic, block: int = BLOCK
) -> float:
    """The unbiased squared MMD of two sets of features (N, d) and (M, d), two or more each."""
    a, b = Points(x, least=2), Points(y, least=2)
    whole = Groups.one(len(b))
    (across,), (own,) = between(a, b, (kernel,), whole, block), within(b, (kernel,), whole, block)
    value, _ = distance_of(mean_within(a, (kernel,), block)[0], across, own, len(a), whole)
    return value


def kernel_distances(
    x: NDArray[np.floating], y: NDArray[np.floating], *, subsets: int, size: int, draw: np.random.Generator
) -> Matrix:
    """KID's estimates (subsets,): the kernel distance of random subsets of `size` points, or of all where there are
    fewer, drawn without replacement. Their mean is KID."""
    size = min(size, len(x), len(y))
    return np.array(
        [
            kernel_distance(x[draw.choice(len(x), size, replace=False)], y[draw.choice(len(y), size, replace=False)])
            for _ in range(subsets)
        ]
    )


def _values(x: Points, y: Points, kernels: tuple[Kernel, ...], block: int) -> Iterator[tuple[slice, list[Matrix]]]:
    for rows, product in products(x, y, block):
        # The last kernel may use the products up; those before it work on a copy.
        copies = [product.copy() for _ in kernels[1:]]
        yield rows, [kernel(x, y, rows, mine) for kernel, mine in zip(kernels, [*copies, product], strict=True)]
