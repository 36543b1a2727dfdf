"""The one protocol by which every set of images is scored, the real test set among them.

Distances between finite sets are not 0 even where both come from one distribution, and they depend on how many images
are compared. So each score has a floor, the score of the real test images, and is computed at the size of its floor:
the generated images are cut into disjoint folds of n = min(M, n_test) images, each fold is held against all real
training images, and the score is the mean over the folds. The floor is the same function of the test images. A perfect
generator reaches its floor, whatever the number of images.

Each score and each floor has a 95 % interval: where other images of the same model, or other test images, would bring
it, the training images held fixed (`spread`).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.fidelity.groups import Groups
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.spread import ENOUGH_FOLDS, estimates
from rediffuse.evaluation.fidelity.standard import FoldScores, Standard
from rediffuse.evaluation.row_order import own_order
from rediffuse.frechet import Gaussian, frechet_distance


@dataclass(frozen=True)
class Fidelity:
    """Scores by name, and the sizes they were computed at.

    Args:
        scores: as `metrics/evaluate.json` holds them, unrounded.
        images, folds: n, and how many folds of n.
        protocol: all that the numbers depend on.
    """

    scores: dict[str, float]
    images: int
    folds: int
    protocol: dict[str, Any]


def score_fidelity(
    train: Features, test: Features, generated: Features, settings: FidelitySettings, standard: Standard | None = None
) -> Fidelity:
    """The distribution scores of generated images, with the floor beside each.

    Folds are cut in the order of `generated`: sampling lets the labels cycle through the classes, so each fold shows
    every class alike, as the test set does. Rows sorted by class must be shuffled first. An image's place is part of
    what it is: image i is a function of the key of sampling and of i. The order of the real sets decides nothing: what
    is drawn of them is drawn from an order of their own.

    Args:
        train, test, generated: features (N, d) by one extractor; each holds more than `settings.neighbours` rows, and
            train more than `settings.coverage_neighbours`.
        standard: made of `train` and `settings`, where it is there already.

    Returns:
        scores named fd, kid, mmd, precision, recall, f1, density, coverage: means over the folds. With `_low`, `_high`:
        their 95 % intervals. With `_floor`, `_floor_low`, `_floor_high`: the same of the real test images. fd_full: the
        Fréchet distance of all generated images at once, comparable only with itself at the same number of images.
        kid_subset_sd: the standard deviation of KID's estimates over the subsets of a fold, the mean over the folds.
    """
    size = min(len(generated), len(test))
    standard = standard or Standard(train, settings)
    # In an order of their own the test rows lie sorted, and where they make several folds each should show every class.
    shuffled = test[own_order(test)][settings.draw("test").permutation(len(test))]
    made, floor = in_folds(standard, generated, size), in_folds(standard, shuffled, size)
    scores = {
        "fd_full": frechet_distance(standard.gaussian, Gaussian.of(generated)),
        "kid_subset_sd": float(np.mean([fold.kid_subset_sd for fold in made])),
    }
    for suffix, folds in (("", made), ("_floor", floor)):
        for name, found in estimates(folds, standard).items():
            scores |= found.named(f"{name}{suffix}")
    protocol = {
        "images": size,
        "folds": len(made),
        "reference": f"train ({len(train)} images)",
        "floor": f"test ({len(test)} images)",
        **asdict(settings),
        "mmd_bandwidth": standard.kernel.bandwidth,
        "intervals": _how(len(made), size),
    }
    return Fidelity(scores, images=size, folds=len(made), protocol=protocol)


def in_folds(standard: Standard, features: Features, size: int, *, errors: bool = True) -> list[FoldScores]:
    """The scores of each whole fold of `size` rows, with standard errors where folds are too few for an interval."""
    count = len(features) // size
    return [
        standard.fold(features[at * size : (at + 1) * size], at, errors=errors and count < ENOUGH_FOLDS)
        for at in range(count)
    ]


def _how(folds: int, size: int) -> str:
    if folds >= ENOUGH_FOLDS:
        return f"95 %, Student's t over {folds} folds"
    return f"95 %, jackknife over {Groups.of(size).count} groups of images a fold; precision, density: over images"
