"""How near a set of generated images is to the real ones, in feature space. All of it in float64.

X are the features of N real images, Y of M generated ones, d their dimension, and NN_k(x) the distance from x to the
k-th nearest other point of its own set.

- Kernel distance, KID (Bińkowski et al., 2018): the unbiased squared MMD with the kernel (x·y/d + 1)³.
- Precision (Kynkäänniemi et al., 2019): the share of Y inside some closed ball B(x, NN_k(x)); recall: the share of X
  inside some B(y, NN_k(y)). Precision asks whether the images look real, recall whether they show all that is real.

The distance shrinks as sets grow, as the Fréchet distance (rediffuse.frechet) does, and both shares depend on the sizes
too: compare only numbers of equal N and M.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def kernel_distance(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """The unbiased squared MMD of two sets of features (N, d) and (M, d); below 0 by chance where they agree."""
    x, y = _points(x, least=2), _points(y, least=2)
    dimension = x.shape[1]

    def kernel(a: Matrix, b: Matrix) -> Matrix:
        values: Matrix = (a @ b.T / dimension + 1) ** 3
        return values

    def within(a: Matrix) -> float:
        matrix = kernel(a, a)
        return float((matrix.sum() - np.trace(matrix)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


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


@dataclass(frozen=True)
class Manifold:
    """The union of closed balls around a set's points (N, d), each as wide as its k-th nearest neighbour is far.

    Distances are computed block by block: memory grows with the square of `block`, never with N × M.
    """

    points: Matrix
    squared_radii: Matrix
    block: int

    @classmethod
    def of(cls, features: NDArray[np.floating], neighbours: int, block: int = 2048) -> "Manifold":
        """Around features (N, d), N above `neighbours`."""
        points = _points(features, least=neighbours + 1)
        radii = [_kth_nearest(points, rows, neighbours, block) for rows in _blocks(len(points), block)]
        return cls(points, np.concatenate(radii), block)

    def contains(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which rows of `features` (M, d) lie in some ball, its surface included, as (M,)."""
        queries = _points(features, least=0)
        inside = np.zeros(len(queries), bool)
        for rows in _blocks(len(queries), self.block):
            for columns in _blocks(len(self.points), self.block):
                squared, error = _squared_distances(queries[rows], self.points[columns])
                inside[rows] |= (squared <= self.squared_radii[columns] + error).any(axis=1)
        return inside


def precision_and_recall(real: Manifold, generated: Manifold) -> tuple[float, float]:
    """The shares of generated points on the real manifold, and of real points on the generated one."""
    return float(real.contains(generated.points).mean()), float(generated.contains(real.points).mean())


def harmonic_mean(precision: float, recall: float) -> float:
    """F1 = 2PR/(P + R), and 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _kth_nearest(points: Matrix, rows: slice, k: int, block: int) -> Matrix:
    """The squared distance of each of `rows` to its k-th nearest other point."""
    nearest = np.empty((len(points[rows]), 0))
    for columns in _blocks(len(points), block):
        squared, _ = _squared_distances(points[rows], points[columns])
        if columns == rows:
            np.fill_diagonal(squared, np.inf)
        nearest = np.concatenate([nearest, squared], axis=1)
        if nearest.shape[1] > k:
            nearest = np.partition(nearest, k - 1, axis=1)[:, :k]
    furthest: Matrix = nearest.max(axis=1)
    return furthest


def _squared_distances(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """|a − b|² for all pairs of rows, and a bound on its rounding error.

    Expanded to |a|² + |b|² − 2ab it is a matrix product, but equal points come out a rounding error apart, another in
    each block. The bound keeps a copy of a point on the surface of a ball inside it.
    """
    scale = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    return np.maximum(scale - 2 * (a @ b.T), 0), 1e-12 * scale


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def _points(features: NDArray[np.floating], least: int) -> Matrix:
    if len(features) < least:
        raise ValueError(f"{len(features)} images are too few: at least {least} are needed")
    return np.asarray(features, np.float64)
