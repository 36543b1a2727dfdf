"""The nearest of many points to each of many queries: exact, and never a matrix of all pairs in memory.

|q − p|² = |q|² + |p|² − 2q·p is a matrix product, but a copy comes out a rounding error away from 0. So the product, in
float32, only names candidates, by a bound on its error; what is returned are differences of the candidates, in float64.

`fidelity.distances` searches the neighbours of points among themselves, for radii that a rounding error does not harm;
here the queries are others, a copy must be at 0, and of equally near points the first must be found.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[Any]
Matrix = NDArray[np.float64]

_QUERIES = 1024
_NUMBERS = 1 << 20
"""Numbers that are scaled, or whose differences are computed, at once."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest points of M queries, nearest first; of equally near ones that with the lower index.

    Args:
        indices: rows of the points, (M, count).
        distances: Euclidean, (M, count); a copy's is exactly 0.
    """

    indices: NDArray[np.int64]
    distances: Matrix


def nearest(queries: Points, points: Points, count: int, block: int = 4096) -> Neighbours:
    """The `count` rows of `points` (N, d) nearest to each row of `queries` (M, d).

    The result is the same whatever the order of the queries and the size of the blocks, to the last bit.

    Args:
        queries, points: finite numbers of any type.
        count: 1 to N.
        block: points that are compared at once; memory grows with it, and not with M × N.

    Raises:
        ValueError: there are fewer than `count` points, or none are asked for.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"{count} nearest of {len(points)} points: at least 1 and at most all can be asked for")
    # Near the origin and near 1 the product is as exact as float32 can be.
    centre = points.mean(axis=0, dtype=np.float64)
    unit = max((_reach(some, centre) for some in (queries, points) if some.size), default=0.0) or 1.0
    scaled = _scaled(points, centre, unit)
    parts = [
        _nearest(queries[rows], _scaled(queries[rows], centre, unit), points, scaled, count, block, unit)
        for rows in _blocks(len(queries), _QUERIES)
    ]
    empty = np.empty((0, count))
    return Neighbours(
        np.concatenate([empty.astype(np.int64), *(part.indices for part in parts)]),
        np.concatenate([empty, *(part.distances for part in parts)]),
    )


def _reach(points: Points, centre: Matrix) -> float:
    """The greatest difference of a coordinate from the centre's, without a copy of the points."""
    return float(np.maximum(points.max(axis=0) - centre, centre - points.min(axis=0)).max())


def _scaled(points: Points, centre: Matrix, unit: float) -> NDArray[np.float32]:
    """Points (N, d) in the units of the product, and their squared lengths behind them, (N, d + 1)."""
    count, dimensions = points.shape
    result = np.empty((count, dimensions + 1), np.float32)
    for rows in _blocks(count, max(1, _NUMBERS // dimensions)):
        moved = result[rows, :-1]
        moved[:] = (points[rows] - centre) / unit
        result[rows, -1] = np.square(moved, dtype=np.float64).sum(axis=1)
    return result


def _nearest(
    queries: Points,
    left: NDArray[np.float32],
    points: Points,
    right: NDArray[np.float32],
    count: int,
    block: int,
    unit: float,
) -> Neighbours:
    """Of one block of queries; `left` and `right` are queries and points, scaled."""
    asked = np.arange(len(queries))
    best = np.full((len(queries), count), np.inf)
    indices = np.full((len(queries), count), len(points), np.int64)
    own = left[:, -1].astype(np.float64)
    # The product gives |p|² − 2q·p at once.
    left = np.concatenate([-2 * left[:, :-1], np.ones_like(left[:, :1])], axis=1)
    for columns in _blocks(len(points), block):
        product = left @ right[columns].T
        # Of d + 1 products and as many sums, of rounding what is multiplied, and of what unit and centre cost.
        error = 2 * (left.shape[1] + 18) * 2.0**-24 * (own + float(right[columns, -1].max()))
        limit = np.minimum(_smallest(product, count), best[:, -1] / unit**2 - own) + 2 * error
        # No later point displaces an equally near one.
        limit[best[:, -1] == 0] = -np.inf
        # Rounded up, because the product is compared in float32.
        limits = np.nextafter(limit.astype(np.float32), np.float32(np.inf))
        some = np.flatnonzero(product.min(axis=1) <= limits)
        rows, places = np.nonzero(product[some] <= limits[some, None])
        rows, places = some[rows], places + columns.start
        found = _squared_differences(queries, rows, points, places)
        # The best so far and the candidates, sorted by query, distance and index; the first `count` of each stay.
        rows = np.concatenate([np.repeat(asked, count), rows])
        places = np.concatenate([indices.ravel(), places])
        found = np.concatenate([best.ravel(), found])
        order = np.lexsort((places, found, rows))
        kept = order[np.searchsorted(rows[order], asked)[:, None] + np.arange(count)]
        best, indices = found[kept], places[kept]
    return Neighbours(indices, np.sqrt(best))


def _smallest(product: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Of each row a number that `count` of its entries don't exceed, the least one where there are as many."""
    if count == 1 or count > product.shape[1]:
        bound: NDArray[np.float32] = product.min(axis=1) if count == 1 else np.full(len(product), np.inf, np.float32)
        return bound
    return np.partition(product, count - 1, axis=1)[:, count - 1]


def _squared_differences(queries: Points, rows: NDArray[np.int64], points: Points, places: NDArray[np.int64]) -> Matrix:
    """|q − p|² of pairs of rows, each a function of the pair alone."""
    result = np.empty(len(rows))
    for pairs in _blocks(len(rows), max(1, _NUMBERS // queries.shape[1])):
        differences = np.asarray(queries[rows[pairs]], np.float64) - np.asarray(points[places[pairs]], np.float64)
        result[pairs] = np.square(differences, out=differences).sum(axis=1)
    return result


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, count)) for first in range(0, count, size))
