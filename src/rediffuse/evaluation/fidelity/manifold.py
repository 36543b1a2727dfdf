"""The manifold of a set of features: a closed ball around each point, as wide as its k-th nearest neighbour is far.

X are the features of N real images, Y of M generated ones, and NN_k(x) the distance from x to the k-th nearest other
point of its own set.

- Precision (Kynkäänniemi et al., 2019): the share of Y inside some ball B(x, NN_k(x)); recall: the share of X inside
  some B(y, NN_k(y)). Precision asks whether the images look real, recall whether they show all that is real.
- Density (Naeem et al., 2020): the balls B(x, NN_k(x)) that a point of Y lies in, the mean over Y, over k; coverage:
  the share of X whose ball holds some point of Y.

All of them depend on the sizes: compare only numbers of equal N and M.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.fidelity.distances import BLOCK, Matrix, Points, near, nearest, products, squared
from rediffuse.evaluation.fidelity.groups import Groups

_SPARE = 6
"""Neighbours kept beyond the k-th, to know the k-th without a group; where they don't suffice all are looked at."""


@dataclass(frozen=True)
class Manifold:
    """Balls around points.

    Args:
        points: the centres, N above k.
        radii: squared, (N,).
        without: squared radii without each group of the points in turn, (N, G); a point of that group has no ball then,
            which −inf says. None where they are not needed.
    """

    points: Points
    radii: Matrix
    without: Matrix | None = None

    @classmethod
    def of(cls, points: Points, neighbours: int, groups: Groups | None = None, block: int = BLOCK) -> "Manifold":
        """Each as wide as the distance to the neighbour of that rank among `points`, more than there are neighbours."""
        _enough(points, neighbours)
        which, distances = nearest(points, neighbours + _SPARE * (groups is not None), block)
        radii = distances[:, neighbours - 1].copy()
        return cls(points, radii, _radii_without(points, which, distances, neighbours, groups) if groups else None)


def real_radii(points: Points, ranks: tuple[int, ...], block: int = BLOCK) -> tuple[Matrix, ...]:
    """Squared radii (N,) by the neighbours of several ranks, from one pass over all distances."""
    _enough(points, max(ranks))
    _, distances = nearest(points, max(ranks), block)
    return tuple(distances[:, rank - 1].copy() for rank in ranks)


@dataclass(frozen=True)
class Overlap:
    """How a generated set lies among the real ones.

    Args:
        precise: which generated points lie in a ball of the real manifold, (M,).
        density: real balls that hold each generated point, over k, (M,).
        recalling: which generated points have a real one in their ball, (M,).
        recall, coverage: shares of the real points.
        recall_without, coverage_without: the same without each group of the generated set in turn, (G,).
    """

    precise: NDArray[np.bool_]
    density: Matrix
    recalling: NDArray[np.bool_]
    recall: float
    coverage: float
    recall_without: Matrix
    coverage_without: Matrix


def overlap(
    real: Manifold,
    coverage_radii: Matrix,
    generated: Manifold,
    *,
    coverage_neighbours: int,
    groups: Groups,
    block: int = BLOCK,
) -> Overlap:
    """All four shares from one pass over the distances of two sets.

    Args:
        coverage_radii: squared radii of the real points by the neighbour of rank `coverage_neighbours`, (N,).
        generated: with radii `without` each of `groups`, or for a single group without them.
    """
    count, alone = len(generated.points), groups.count == 1
    precise, holding, density = np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, np.int64)
    recalled, covered = 0, 0
    recalled_without, covered_without = (np.zeros(groups.count, np.int64) for _ in range(2))
    for rows, distances in near(real.points, generated.points, block):
        precise |= (distances <= real.radii[rows, None]).any(axis=0)
        inside = distances <= coverage_radii[rows, None]
        density += inside.sum(axis=0)
        covering = np.logical_or.reduceat(inside, groups.starts, axis=1)
        covered += int(covering.any(axis=1).sum())
        held = distances <= generated.radii
        holding |= held.any(axis=0)
        recalling = np.logical_or.reduceat(held, groups.starts, axis=1)
        recalled += int(recalling.any(axis=1).sum())
        if alone or generated.without is None:
            continue
        covered_without += _by_others(covering).sum(axis=0)
        still = _by_others(recalling)
        # Without a group the balls of the others only grow: who was inside one of them still is.
        for group in np.flatnonzero(~still.all(axis=0)):
            open_rows = np.flatnonzero(~still[:, group])
            still[open_rows, group] = (distances[open_rows] <= generated.without[:, group]).any(axis=1)
        recalled_without += still.sum(axis=0)
    total = len(real.points)
    return Overlap(
        precise=precise,
        density=density / coverage_neighbours,
        recalling=holding,
        recall=recalled / total,
        coverage=covered / total,
        recall_without=recalled_without / total,
        coverage_without=covered_without / total,
    )


def recall_of(real: Points, generated: Manifold, groups: Groups, block: int = BLOCK) -> Overlap:
    """Recall alone: no real point has a ball, so that nothing is precise, dense or covered."""
    none = np.full(len(real), -np.inf)
    return overlap(Manifold(real, none), none, generated, coverage_neighbours=1, groups=groups, block=block)


def harmonic_mean(precision: float, recall: float) -> float:
    """F1 = 2PR/(P + R), and 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _by_others(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """From which groups hit a row (N, G), whether some group other than each does, (N, G)."""
    others: NDArray[np.bool_] = hits.sum(axis=1)[:, None] > hits
    return others


def _radii_without(points: Points, which: NDArray[np.int64], distances: Matrix, rank: int, groups: Groups) -> Matrix:
    """Squared distances (N, G) to the neighbour of that rank without each group; −inf for the group's own points."""
    radii = np.empty((len(points), groups.count))
    theirs = groups.members[which]
    for group in range(groups.count):
        others = theirs != group
        # The place of the rank-th neighbour that stays.
        place = np.argmax(others.cumsum(axis=1) >= rank, axis=1)
        radii[:, group] = distances[np.arange(len(points)), place]
        short = np.flatnonzero((others.sum(axis=1) < rank) & (groups.members != group))
        if len(short):
            radii[short, group] = _far_radii(points, short, groups.members != group, rank)
        radii[groups.members == group, group] = -np.inf
    return radii


def _far_radii(points: Points, rows: NDArray[np.int64], stay: NDArray[np.bool_], rank: int) -> Matrix:
    """The same for a few points whose kept neighbours are nearly all of one group; as far as there are any left."""
    result = np.empty(len(rows))
    some = Points(points.rows[rows])
    for part, product in products(some, points):
        apart = squared(some, points, part, product)
        own = rows[part]
        apart[np.arange(len(own)), own] = np.inf
        left = np.sort(np.where(stay, apart, np.inf), axis=1)
        last = np.maximum(np.isfinite(left).sum(axis=1), 1) - 1
        found = left[np.arange(len(own)), np.minimum(last, rank - 1)]
        result[part] = np.where(np.isfinite(found), found, 0.0)
    return result


def _enough(points: Points, neighbours: int) -> None:
    if len(points) <= neighbours:
        raise ValueError(f"{len(points)} images are too few: at least {neighbours + 1} are needed")
