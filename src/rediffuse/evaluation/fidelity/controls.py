"""What sets get that are known to be as good as the real one, or bad in a known way: the scale that a score lies on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.fidelity.protocol import in_folds
from rediffuse.evaluation.fidelity.settings import FidelitySettings, least_images
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.row_order import own_order

HALF = "half_of_train"
HALF_FOLDS = 4  # one alone scatters threefold where folds are small, and more tell little


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
        by name images (n), fd, kid, mmd, precision, recall, f1, density, coverage. First `half_of_train`: images of one
        half of the training split, cut by key, against the other half. A set or a half with too few is absent.
    """
    scores = {}
    one, other = _halves(standard.train, settings)
    least = least_images(settings.neighbours)
    if len(other) >= max(least, settings.coverage_neighbours + 1):
        scores[HALF] = _score(Standard(other, settings), one[: HALF_FOLDS * size], size)
    for name, features in controls.items():
        if len(features) >= least:
            order = settings.draw(f"controls/{name}").permutation(len(features))
            scores[name] = _score(standard, features[own_order(features)][order], size)
    return scores


def describe_controls(standard: Standard, size: int, settings: FidelitySettings) -> dict[str, Any]:
    """What the scores of controls depend on beside the settings: the most images of a set, and what it is held against.

    Some have fewer, as the test images without a class do: `images` of each control says how many.
    """
    _, other = _halves(standard.train, settings)
    return {
        "images": size,
        "reference": f"train ({len(standard.train)} images)",
        f"reference_of_{HALF}": f"the other half of train ({len(other)} images)",
        "seed": settings.seed,
    }


def _halves(train: Features, settings: FidelitySettings) -> list[Features]:
    return np.array_split(train[settings.draw(f"controls/{HALF}").permutation(len(train))], 2)


def _score(standard: Standard, rows: Features, size: int) -> dict[str, float]:
    size = min(size, len(rows))
    folds = in_folds(standard, rows, size, errors=False)
    return {"images": size, **{name: float(np.mean([fold.values[name] for fold in folds])) for name in folds[0].values}}
