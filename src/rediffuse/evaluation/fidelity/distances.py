"""Squared distances between many points, a block of rows at a time: memory never grows with N × M. All in float64.

Expanded to |a|² + |b|² − 2ab they are a matrix product, but equal points come out a rounding error apart, another in
each block. `near` subtracts a bound on that error, so that a copy of a point on the surface of a ball lies inside it.
The error grows with |a|² and |b|²: sets are measured from a centre in their midst, so that far from the origin a bound
is not wider than the sets.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

BLOCK = 1 << 20
"""Distances in memory at once, about: few enough to stay in a processor's cache between one operation and the next."""

_ROUNDING = 1e-12


class Points:
    """A set of feature vectors in float64, seen from a centre that all sets have which are held against each other.

    Args:
        features: (N, d), N at least `least`.
        centre: (d,); None: the origin.
    """

    def __init__(self, features: NDArray[np.floating], least: int = 0, centre: Matrix | None = None) -> None:
        if len(features) < least:
            raise ValueError(f"{len(features)} images are too few: at least {least} are needed")
        rows = np.asarray(features, np.float64)
        self.centre = centre
        self.rows: Matrix = np.ascontiguousarray(rows if centre is None else rows - centre)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def squares(self) -> Matrix:
        """|a|² of each row, (N,)."""
        lengths: Matrix = np.einsum("nd,nd->n", self.rows, self.rows)
        return lengths

    @cached_property
    def beyond(self) -> Matrix:
        """What each row adds to its inner products where they are taken from the origin, a·c + |c|²/2, (N,)."""
        centre = np.zeros(self.rows.shape[1]) if self.centre is None else self.centre
        added: Matrix = self.rows @ centre + centre @ centre / 2
        return added


def products(a: Points, b: Points, block: int = BLOCK) -> Iterator[tuple[slice, Matrix]]:
    """Some rows of `a` after others, with their inner products with all of `b`.

    The matrix (rows, M) may be changed by the caller; it is valid until the next one.
    """
    height = max(block // max(len(b), 1), 1)
    memory = np.empty((min(height, len(a)), len(b)))
    for first in range(0, len(a), height):
        rows = slice(first, min(first + height, len(a)))
        yield rows, np.matmul(a.rows[rows], b.rows.T, out=memory[: rows.stop - first])


def squared(a: Points, b: Points, rows: slice, product: Matrix) -> Matrix:
    """|a − b|² of `rows` of `a` and all of `b`, made of their inner products in place; never below 0."""
    product *= -2
    product += a.squares[rows, None]
    product += b.squares
    return np.maximum(product, 0, out=product)


def near(a: Points, b: Points, block: int = BLOCK) -> Iterator[tuple[slice, Matrix]]:
    """As `products`, but squared distances less a bound on their rounding error: to be compared with squared radii."""
    for rows, product in products(a, b, block):
        product *= -2
        product += (1 - _ROUNDING) * a.squares[rows, None]
        product += (1 - _ROUNDING) * b.squares
        yield rows, product


def nearest(points: Points, count: int, block: int = BLOCK) -> tuple[NDArray[np.int64], Matrix]:
    """The `count` nearest other points of each point, N − 1 at most: which (N, count), and how far, squared, rising."""
    count = min(count, len(points) - 1)
    which, distances = np.empty((len(points), count), np.int64), np.empty((len(points), count))
    for rows, product in products(points, points, block):
        apart = squared(points, points, rows, product)
        own = np.arange(rows.start, rows.stop)
        apart[own - rows.start, own] = np.inf
        found = np.argpartition(apart, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(apart, found, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        which[rows] = np.take_along_axis(found, order, axis=1)
        distances[rows] = np.take_along_axis(values, order, axis=1)
    return which, distances
