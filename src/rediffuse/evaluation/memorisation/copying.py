"""C_T: do generated images lie nearer to the training images than new real ones do? (Meehan et al., 2020)

In each cell of a partition, here a class, L is the distance to the nearest training image of that cell, and Z_U the
z-score of Mann and Whitney's U of generated images' L against test images'. C_T is the mean of Z_U over the cells,
weighted by the shares of the test images (their eq. 3). Far below 0: copies, in some classes at least. Far above 0:
images that are farther from the real ones than real ones are. In a single cell it is N(0, 1) where both kinds follow
one distribution; a mean over several cells scatters less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.memorisation.nearest import nearest
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
    def of(cls, train: Rows, test: Rows, generated: Rows, classes: int) -> "Cells":
        """The classes that have enough images, or one cell where none of them has.

        Args:
            train, test, generated: labels (N,) of each, -1 for none; an image without a label is in no class.
            classes: how many there are.
        """
        counts = [np.bincount(labels[labels >= 0], minlength=classes) for labels in (train, test, generated)]
        enough = (counts[0] >= 1) & (counts[1] >= LEAST_TEST) & (counts[2] >= LEAST_GENERATED)
        chosen = tuple(int(label) for label in np.flatnonzero(enough))
        return cls(chosen or None)

    def rows(self, labels: Rows) -> list[Rows]:
        """The rows of each cell, of images with these labels."""
        if self.labels is None:
            return [np.arange(len(labels))]
        return [np.flatnonzero(labels == label) for label in self.labels]


@dataclass(frozen=True)
class Approaches:
    """Distances of images to the nearest training image of their cell, a vector a cell."""

    distances: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, features: Features, labels: Rows, train: Features, train_labels: Rows, cells: Cells) -> "Approaches":
        """Of images with these features (N, d) and labels (N,)."""
        pairs = zip(cells.rows(labels), cells.rows(train_labels), strict=True)
        return cls(tuple(nearest(features[rows], train[known], 1).distances[:, 0] for rows, known in pairs))

    def halves(self, order: Sequence[Sequence[int]]) -> tuple["Approaches", "Approaches"]:
        """Every second image of each cell, in an order of its places, and the others."""
        chosen = [values[list(places)] for values, places in zip(self.distances, order, strict=True)]
        return Approaches(tuple(one[::2] for one in chosen)), Approaches(tuple(one[1::2] for one in chosen))


def copying_statistic(generated: Approaches, test: Approaches) -> Estimate:
    """C_T, and between what bounds it would lie with other images of the same kinds, as many.

    In a cell Z_U is θ = P(L of a generated > L of a test image) in other units, and has the bounds of θ. Those of the
    cells are put together as distances from the estimate, squared (Zou & Donner, 2008).

    Args:
        generated, test: of the same cells, each with an image at least.
    """
    cells = [Separation(one, other) for one, other in zip(generated.distances, test.distances, strict=True)]
    weights = np.array([len(values) for values in test.distances], np.float64)
    weights /= weights.sum()
    units = weights * np.array([cell.unit for cell in cells])
    thetas = np.array([(cell.auc.value, cell.auc.low, cell.auc.high) for cell in cells])
    value = float((units * (thetas[:, 0] - 0.5)).sum())
    below, above = (float(np.sqrt(np.square(units * (thetas[:, i] - thetas[:, 0])).sum())) for i in (1, 2))
    return Estimate(value, value - below, value + above)
