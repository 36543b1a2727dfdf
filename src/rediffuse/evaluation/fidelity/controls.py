"""What sets get that are known to be as good as the real one, or bad in a known way: the scale that a score lies on."""

from collections.abc import Mapping

import numpy as np

from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.fidelity.protocol import in_folds
from rediffuse.evaluation.fidelity.settings import FidelitySettings, least_images
from rediffuse.evaluation.fidelity.standard import FoldScores, Standard

HALF = "half_of_train"


def score_controls(
    standard: Standard, controls: Mapping[str, Features], size: int, settings: FidelitySettings
) -> dict[str, dict[str, float]]:
    """The scores of control sets, at the size of the scores beside them.

    Args:
        standard: of all training images.
        controls: features of each set by name; a set with fewer than `size` images is scored at what it has. Their rows
            are shuffled by key, for they may be sorted by class.
        size: images of a fold.

    Returns:
        by name fd, kid, mmd, precision, recall, f1, density, coverage. First `half_of_train`: images of one half of the
        training split, cut by key, against the other half; absent where a half has too few.
    """
    scores = {}
    order = settings.draw(f"controls/{HALF}").permutation(len(standard.train))
    one, other = np.array_split(standard.train[order], 2)
    if len(other) >= max(least_images(settings.neighbours), settings.coverage_neighbours + 1):
        scores[HALF] = _mean(in_folds(Standard(other, settings), one, min(size, len(one)), errors=False)[:1])
    for name, features in controls.items():
        rows = features[settings.draw(f"controls/{name}").permutation(len(features))]
        scores[name] = _mean(in_folds(standard, rows, min(size, len(rows)), errors=False))
    return scores


def _mean(folds: list[FoldScores]) -> dict[str, float]:
    return {name: float(np.mean([fold.values[name] for fold in folds])) for name in folds[0].values}
