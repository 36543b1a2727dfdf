"""Images that are far from the others of their class: the distance to near neighbours in feature space.

An image's distance is the one to its k-th nearest of up to 2,000 images of its class, with k half a percent of them but
at least 5, so that a few alike outliers don't vouch for each other. Of the logarithms of these distances the class
gives median and spread (the median absolute deviation), and an image's score is how many such spreads it lies beyond
the median: comparable between classes, tight or varied.
"""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rediffuse.data.features import Features, Reals

MEMBERS = 20
"""A class of fewer is too small to say what is usual in it."""

_SAMPLE = 2000
_NEIGHBOURS = 5
_CHUNK = 512
_NEAR = 0.05  # a distance as small as this is one or two grey levels everywhere: none at all
_SPREAD = 0.05  # least spread, in logarithms: where all distances are alike, 5 % more is no deviation


def class_outliers(
    features: Features, labels: NDArray[np.int32], hashes: NDArray[np.uint64], groups: NDArray[np.int64]
) -> Reals:
    """How far each image lies outside its class, in robust standard deviations, float32 (n,), to four decimals.

    Args:
        labels: the class of each image; those without one (-1) are a class together.
        hashes: of the images' ids; they choose a class's sample, so the order of the rows doesn't matter.
        groups: images with the same number are near duplicates, and none counts as the neighbour of another.

    Returns:
        NaN in a class with fewer than 20 different images; below 0 for those that are nearer than most.
    """
    scores = np.full(len(labels), np.nan, np.float32)
    order = np.lexsort((hashes, labels))
    with threadpool_limits(1):
        for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            distances = _distances(features.points[members], features.residual[members], groups[members])
            if distances is not None:
                scores[members] = np.round(_deviations(distances), 4)
    return scores


def _distances(points: Reals, residual: Reals, groups: NDArray[np.int64]) -> Reals | None:
    """To the k-th nearest image of the sample that is no near duplicate; None of too few images."""
    _, firsts, group = np.unique(groups, return_index=True, return_inverse=True)
    if len(firsts) < MEMBERS:
        return None
    sample = np.sort(firsts)[:_SAMPLE]
    column = np.full(len(points), -1)
    column[sample] = np.arange(len(sample))
    own = column[firsts[group]]
    kth = max(_NEIGHBOURS, len(sample) // 200) - 1
    # What PCA leaves of two images is taken as orthogonal: noise is far from other noise too.
    lengths = np.square(points).sum(axis=1) + np.square(residual)
    distances = np.empty(len(points), np.float32)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        squared = lengths[part, None] + lengths[sample] - 2 * (points[part] @ points[sample].T)
        inside = np.flatnonzero(own[part] >= 0)
        squared[inside, own[part][inside]] = np.inf
        distances[part] = np.sqrt(np.maximum(np.partition(squared, kth, axis=1)[:, kth], 0))
    return distances


def _deviations(distances: Reals) -> NDArray[np.float64]:
    logs = np.log(np.maximum(distances, _NEAR), dtype=np.float64)
    centred = logs - np.median(logs)
    result: NDArray[np.float64] = centred / max(1.4826 * float(np.median(np.abs(centred))), _SPREAD)
    return result
