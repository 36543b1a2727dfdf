"""The 95 % intervals of scores over folds: where other images of the same kind would bring them.

From five folds on Student's over the folds. With fewer from within them: from the images for precision (Wilson) and
density, from the jackknife over groups of images for the others.

Neither sees what happens too seldom to have happened. Of uniform noise one image in a thousand may lie among the real
ones: mostly none does, every fold says 0, and so does every part of a fold. So the ends of precision, recall, density,
coverage and F1 also hold what Wilson's interval of the share of the images that count at all would make of the score.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.fidelity.groups import Groups
from rediffuse.evaluation.fidelity.manifold import harmonic_mean
from rediffuse.evaluation.fidelity.standard import FoldScores, Standard
from rediffuse.evaluation.intervals import Estimate

ENOUGH_FOLDS = 5


def estimates(folds: Sequence[FoldScores], standard: Standard) -> dict[str, Estimate]:
    """Each score's mean over folds, with its interval; fewer folds than `ENOUGH_FOLDS` need their standard errors."""
    found = {name: _of(folds, name) for name in folds[0].values}
    settings, real = standard.settings, len(standard.points)
    size = len(folds[0].precise)
    density = np.concatenate([fold.density for fold in folds])
    recalling = np.concatenate([fold.recalling for fold in folds])
    precise = np.concatenate([fold.precise for fold in folds])
    found["precision"] = seldom(found["precision"], precise, 1.0)
    # What one image brings that counts: as many real images of all as its ball holds of its own kind.
    found["recall"] = seldom(found["recall"], recalling, size * settings.neighbours / real)
    found["coverage"] = seldom(found["coverage"], density > 0, size * settings.coverage_neighbours / real)
    found["density"] = seldom(found["density"], density > 0, 1.0)
    for name in ("precision", "recall", "coverage", "f1"):
        found[name] = found[name].clipped(0.0, 1.0)
    for name in ("fd", "density"):
        found[name] = found[name].clipped(0.0)
    found["f1"] = _f1(found["f1"], found["precision"], found["recall"], Estimate.of_share(precise)).clipped(0.0, 1.0)
    return found


def _f1(found: Estimate, precision: Estimate, recall: Estimate, share: Estimate) -> Estimate:
    """F1's interval widened by what another share of precise images would add to it or take from it."""
    if not (precision.value and recall.value):
        return _widened(found, found.low, harmonic_mean(precision.high, recall.high))
    less, more = (
        harmonic_mean(end, recall.value) - harmonic_mean(share.value, recall.value) for end in (share.low, share.high)
    )
    return _widened(found, found.value + less, found.value + more)


def _of(folds: Sequence[FoldScores], name: str) -> Estimate:
    if len(folds) < ENOUGH_FOLDS and name == "precision":
        return Estimate.of_share(np.concatenate([fold.precise for fold in folds]))
    if len(folds) < ENOUGH_FOLDS and name == "density":
        return Estimate.of_mean(np.concatenate([fold.density for fold in folds]))
    values = np.array([fold.values[name] for fold in folds])
    errors = np.array([fold.errors[name] for fold in folds if fold.errors])
    return over_folds(values, errors, Groups.of(len(folds[0].precise)))


def over_folds(values: NDArray[np.float64], errors: NDArray[np.float64], groups: Groups) -> Estimate:
    """The mean of a score over folds (F,): from their spread, or where they are few from standard errors within each.

    Args:
        errors: by the jackknife over `groups`, (F,); empty for enough folds. Where the interval is not asked for, empty
            too: it is then the value alone.
    """
    mean = float(values.mean())
    if len(values) >= ENOUGH_FOLDS:
        return Estimate.of_mean(values)
    if not len(errors):
        return Estimate(mean, mean, mean)
    return Estimate.around(mean, float(np.sqrt((errors**2).sum())) / len(values), len(values) * (groups.count - 1))


def seldom(found: Estimate, counting: NDArray[np.bool_], each: float) -> Estimate:
    """The interval widened to what other images would give, if only the share of them that count were another.

    Args:
        counting: which images contribute to the score, over all folds.
        each: the score of a fold in which every image counts, where none does that would tell.
    """
    share = Estimate.of_share(counting)
    each = found.value / share.value if share.value else each
    return _widened(found, each * share.low, each * share.high)


def _widened(found: Estimate, low: float, high: float) -> Estimate:
    return Estimate(found.value, min(found.low, low), max(found.high, high))
