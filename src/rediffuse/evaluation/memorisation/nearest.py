"""The real images that lie nearest to generated ones: what a reader looks at for copies of the training data."""

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.extractors.features import Features


def nearest(queries: Features, points: Features, count: int, block: int = 4096) -> NDArray[np.int64]:
    """Indices (M, count) of the rows of `points` (N, d) nearest to each row of `queries` (M, d), nearest first.

    Memory grows with M × block, never with M × N. Of equally near points the one with the lower index comes first.
    """
    wanted = np.asarray(queries, np.float64)
    indices = np.empty((len(wanted), 0), np.int64)
    distances = np.empty((len(wanted), 0))
    for first in range(0, len(points), block):
        some = np.asarray(points[first : first + block], np.float64)
        # Differences, not |a|² + |b|² − 2ab: there are few queries, and a copy must come out at exactly 0.
        squared = np.stack([((some - query) ** 2).sum(axis=1) for query in wanted])
        distances = np.concatenate([distances, squared], axis=1)
        here = np.broadcast_to(np.arange(first, first + len(some)), squared.shape)
        indices = np.concatenate([indices, here], axis=1)
        best = np.argsort(distances, axis=1, kind="stable")[:, :count]
        distances = np.take_along_axis(distances, best, axis=1)
        indices = np.take_along_axis(indices, best, axis=1)
    return indices
