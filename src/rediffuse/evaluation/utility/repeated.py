"""Intervals of scores that several classifiers, trained from other seeds, get on the same n test images.

Such a score would move with other seeds and with other test images. Both count: its squared standard error is

    e² = s²_trainings / R + s²_images / n,

s²_trainings the variance of the R trainings' scores over all images, s²_images that of the images' scores over all
trainings. It is never too small on average: what chance adds to a single image in a single training counts in both
terms (Owen 2007, "The pigeonhole bootstrap"). Its degrees of freedom are those of Welch and Satterthwaite,
e⁴ / ((s²_trainings/R)²/(R - 1) + (s²_images/n)²/(n - 1)). One training alone shows no spread over trainings: its
interval holds the sampling error of the test images only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.extractors.classifier import Labels
from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.utility.agreement import SCORES, Agreement, macro_without_each

Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class _Error:
    """The squared standard error's two parts, of R trainings and n images."""

    trainings: float
    images: float
    repeats: int
    count: int

    @classmethod
    def of(cls, by_training: NDArray[np.float64], images: float, count: int) -> "_Error":
        repeats = len(by_training)
        spread = float(by_training.var(ddof=1)) / repeats if repeats > 1 else 0.0
        return cls(spread, images, repeats, count)

    @property
    def squared(self) -> float:
        return self.trainings + self.images

    @property
    def degrees(self) -> float:
        of_images = max(self.count - 1, 1)
        if not self.trainings:
            return of_images
        return self.squared**2 / (self.trainings**2 / (self.repeats - 1) + self.images**2 / of_images)


def share_right(hits: Hits) -> Estimate:
    """The accuracy of R trainings on n images (R, n), by the interval of Wilson of a share with the same error.

    It is never that of more than n images: a few mistakes tell little of how they would spread.
    """
    repeats, count = hits.shape
    if repeats == 1:
        return Estimate.of_share(hits[0])
    error = _Error.of(hits.mean(axis=1), float(hits.mean(axis=0).var()) / count, count)
    return _bounded(float(hits.mean()), error)


def difference(better: Hits, worse: Hits) -> Estimate:
    """How much higher the accuracy of `better` is, both (R, n) on the same images.

    The spread counts two images more, one that only `better` gets right and one that only `worse` does, each by half
    (Agresti & Min 2005): where no answer differs, the difference is not yet known to be 0.
    """
    differences = better.astype(np.float64) - worse
    count = differences.shape[1]
    by_image = differences.mean(axis=0)
    value = float(by_image.mean())
    images = float(((by_image - value) ** 2).sum() + 1) / (count + 2) ** 2
    error = _Error.of(differences.mean(axis=1), images, count)
    return Estimate.around(value, float(np.sqrt(error.squared)), error.degrees)


def macro_scores(actual: Labels, predicted: Sequence[Labels], classes: int) -> dict[str, Estimate]:
    """Macro precision, recall and F1: means over the trainings, the images' part of the error by the jackknife.

    Args:
        actual: (n,), 0 or above.
        predicted: (n,) by each training.
    """
    count = len(actual)
    by_training = [Agreement.of(actual, each, classes).macro for each in predicted]
    without = [macro_without_each(actual, each, classes) for each in predicted]
    scores = {}
    for name in SCORES:
        values = np.array([each[name] for each in by_training])
        left_out = np.mean([each[name] for each in without], axis=0)
        images = (count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum())
        scores[name] = _bounded(float(values.mean()), _Error.of(values, images, count))
    return scores


def _bounded(value: float, error: _Error) -> Estimate:
    trials = value * (1 - value) / error.squared if error.squared else error.count
    # A score of 0 or 1 has no spread to see, and n trials all the same.
    return Estimate.of_bounded(value, min(trials, error.count) or error.count, error.degrees)
