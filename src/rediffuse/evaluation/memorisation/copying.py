"""C_T: do generated images lie nearer to the training images than new real ones do? (Meehan et al., 2020)

L is the distance to the nearest training image, and Z_U, in each cell of a partition, the z-score of Mann and Whitney's
U of generated images' L against test images'. C_T puts the cells together. Far below 0: copies. Far above 0: images
that are farther from the real ones than real ones are. It is N(0, 1) where both kinds follow one distribution.

That differs from the paper in three points, each for a reason:

- Its eq. 3 is the mean of Z_U over the cells, of which the standard deviation is 1/√K for K alike: no threshold would
  mean the same on other data. Here it is Σ w·Z_U / √(Σ w²), van Elteren's (1960) stratified test: w = √(mn/(m + n + 1))
  makes it the most powerful against the same shift in every cell.
- A cell is a class, as the judge sees it in generated and test images alike. By the labels that were asked for a copy
  under a wrong label would stand among images that it is not like.
- L is the distance to all training images, so that a copy is at 0 in whatever cell it lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.memorisation.separation import Separation

LEAST_GENERATED = 20
"""Generated images that a cell needs to count (the paper's τ = 20/m)."""

LEAST_TEST = 5
"""Test images that it needs, and their halves together: fewer have hardly any ranks."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """A partition of the images: a cell for each class, or a single one.

    Args:
        labels: of the cells; None: one cell that holds every image.
    """

    labels: tuple[int, ...] | None

    @classmethod
    def of(cls, generated: Rows, test: Rows, classes: int) -> "Cells":
        """The classes that have enough images, or one cell where none of them has.

        Args:
            generated, test: the class seen in each image, (N,).
            classes: how many there are; 0: one cell.
        """
        counts = [np.bincount(seen, minlength=classes) if classes else np.zeros(0) for seen in (generated, test)]
        chosen = np.flatnonzero((counts[0] >= LEAST_GENERATED) & (counts[1] >= LEAST_TEST))
        return cls(tuple(int(label) for label in chosen) or None)

    def rows(self, seen: Rows) -> list[Rows]:
        """The rows of each cell, of images in which these classes are seen, (N,)."""
        if self.labels is None:
            return [np.arange(len(seen))]
        return [np.flatnonzero(seen == label) for label in self.labels]


@dataclass(frozen=True)
class Approaches:
    """Distances of images to the nearest training image, a vector a cell."""

    distances: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, distances: NDArray[np.float64], seen: Rows, cells: Cells) -> "Approaches":
        """Of images with these distances and seen classes, both (N,)."""
        return cls(tuple(distances[rows] for rows in cells.rows(seen)))

    @property
    def size(self) -> int:
        """Images in all cells."""
        return sum(map(len, self.distances))

    def halves(self, order: Sequence[Sequence[int]]) -> tuple["Approaches", "Approaches"]:
        """Every second image of each cell, in an order of its places, and the others."""
        chosen = [values[list(places)] for values, places in zip(self.distances, order, strict=True)]
        return Approaches(tuple(one[::2] for one in chosen)), Approaches(tuple(one[1::2] for one in chosen))


def copying_statistic(generated: Approaches, test: Approaches) -> Estimate:
    """C_T, and between what bounds it would lie with other images of the same kinds, as many.

    In a cell Z_U is θ = P(L of a generated > L of a test image) in other units, and has the bounds of θ. Those of the
    cells are put together as distances from the estimate, squared (Zou & Donner, 2008). A cell in which all distances
    are equal says nothing and counts for nothing.

    Args:
        generated, test: of the same cells, each with an image at least.
    """
    cells = [Separation(one, other) for one, other in zip(generated.distances, test.distances, strict=True)]
    units = np.array([cell.unit for cell in cells])
    weights = np.array([cell.weight for cell in cells]) * (units > 0)
    length = float(np.sqrt(np.square(weights).sum()))
    if length == 0:
        return Estimate(0.0, 0.0, 0.0)
    units *= weights / length
    thetas = np.array([(cell.auc.value, cell.auc.low, cell.auc.high) for cell in cells])
    value = float((units * (thetas[:, 0] - 0.5)).sum())
    below, above = (float(np.sqrt(np.square(units * (thetas[:, i] - thetas[:, 0])).sum())) for i in (1, 2))
    return Estimate(value, value - below, value + above)
