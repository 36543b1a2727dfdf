"""Labels that are probably wrong, by a model that hasn't seen the image (after Northcutt et al., 2021).

The images are cut into five folds, near duplicates into the same one. Ridge regression from random ReLU features to the
classes is fitted without a fold and scores the images of that fold; its normal equations are sums over folds, so
leaving one out costs a subtraction. Scores of the sample that the regression was fitted on, all out of fold, then teach
a Gaussian model with one covariance (linear discriminant analysis) what scores images of a class have: p(class | image)
is softmax(its logits / temperature). With a share ε of the labels drawn at random, a label comes about with

    p(label | image) = (1 - ε) · p(class | image) + ε · p(label),

and likelihood fits temperature and ε together. The part of the first term in this sum is the probability that the label
is right: calibrated whether few labels are wrong or many, and near 1 for all where none is, however alike the classes.
All is closed-form or a grid, in the order of the images' hashes and on one thread, so the same images give the same
numbers.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rediffuse.data.features import Features, Reals
from rediffuse.data.outliers import MEMBERS
from rediffuse.seeds import hashed_seed

FOLDS = 5
_UNITS = 1024
_RIDGE = 1e-3  # of the mean diagonal of the normal equations
_SAMPLES = (20_000, 30_000)  # images to fit on: 50 a class, but so many at least and at most
_TEMPERATURES = np.geomspace(0.5, 32, 31)
_WRONG_SHARES = np.geomspace(1e-4, 0.4, 25)
_LOGITS = 2_000_000  # to fit these two on: 20,000 images of up to 100 classes, fewer of more
_CHUNK = 2048


@dataclass(frozen=True)
class _Calibration:
    """From scores to p(class | image), and what else is known of each class."""

    slope: Reals
    offset: Reals
    chance: Reals  # ε · p(label) / (1 - ε)
    confidence: Reals  # mean of p(class | image) over the class's members

    def __call__(self, scores: Reals) -> Reals:
        return _softmax(scores @ self.slope + self.offset)


def label_suspects(
    features: Features, labels: NDArray[np.int32], hashes: NDArray[np.uint64], groups: NDArray[np.int64]
) -> tuple[Reals, NDArray[np.int32]]:
    """The probability that each image's label is right, by a model that hasn't seen the image, and a likelier class.

    Args:
        labels: the class of each image, from 0; -1 without one.
        hashes: of the images' ids; they choose folds and sample, so the order of the rows doesn't matter.
        groups: images with the same number are near duplicates: they share a fold, and one of them stands for all in
            what is fitted.

    Returns:
        The probability, float32 (n,), to four decimals: NaN without a label, in a class with fewer than 20 different
        images in the sample, and where fewer than two classes are left. And the likeliest of the other classes whose
        probability is at least the one that this class's own members have on average, int32 (n,): -1 where there
        is none. A label is suspect when its probability is small and there is such a class.
    """
    probability = np.full(len(labels), np.nan, np.float32)
    suggestion = np.full(len(labels), -1, np.int32)
    ordered = np.argsort(hashes, kind="stable")
    ordered = ordered[labels[ordered] >= 0]
    _, firsts = np.unique(groups[ordered], return_index=True)
    different = ordered[np.sort(firsts)]
    sample = different[: int(np.clip(50 * len(np.unique(labels[ordered])), *_SAMPLES))]
    classes, counts = np.unique(labels[sample], return_counts=True)
    classes = classes[counts >= MEMBERS]
    if len(classes) < 2:
        return probability, suggestion
    ordered, sample = (rows[np.isin(labels[rows], classes)] for rows in (ordered, sample))
    target = np.searchsorted(classes, labels).astype(np.int64)  # without meaning where the class is left out
    folds = _folds(hashes, groups)
    with threadpool_limits(1):
        model = _Model(features.points[sample], target[sample], folds[sample], len(classes))
        calibration = _calibrate(model.scores(features.points[sample], folds[sample]), target[sample], len(classes))
        for rows in (ordered[part] for part in _parts(len(ordered))):
            shares = calibration(model.scores(features.points[rows], folds[rows]))
            each = np.arange(len(rows))
            own, chance = shares[each, target[rows]], calibration.chance[target[rows]]
            probability[rows] = np.round(own / (own + chance), 4)
            shares[shares < calibration.confidence] = -1
            shares[each, target[rows]] = -1
            best = shares.argmax(axis=1)
            suggestion[rows] = np.where(shares[each, best] >= 0, classes[best], -1)
    return probability, suggestion


def _folds(hashes: NDArray[np.uint64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Folds by the least hash in each group, mixed: the sample is chosen by the same hashes."""
    _, group = np.unique(groups, return_inverse=True)
    least = np.full(group.max(initial=0) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, group, hashes)
    mixed = (least ^ (least >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    folds = ((mixed >> np.uint64(33)) % np.uint64(FOLDS)).astype(np.int64)
    return np.asarray(folds[group])


class _Model:
    """Ridge regression on random ReLU features, fitted once without each fold."""

    def __init__(self, points: Reals, target: NDArray[np.int64], folds: NDArray[np.int64], classes: int) -> None:
        generator = np.random.default_rng(hashed_seed(0, "label suspects"))
        length = max(float(np.sqrt(np.square(points).sum(axis=1, dtype=np.float64).mean())), 1e-6)
        self._weight = (generator.standard_normal((points.shape[1], _UNITS)) * (1.5 / length)).astype(np.float32)
        self._bias = generator.uniform(-1, 1, _UNITS).astype(np.float32)
        gram = np.zeros((FOLDS, _UNITS + 1, _UNITS + 1))
        moment = np.zeros((FOLDS, _UNITS + 1, classes))
        for fold in range(FOLDS):
            rows = np.flatnonzero(folds == fold)
            for part in (rows[each] for each in _parts(len(rows))):
                units = self._units(points[part])
                gram[fold] += units.T @ units
                moment[fold] += units.T @ np.eye(classes, dtype=np.float32)[target[part]]
        self._solutions = [
            _ridge(gram.sum(axis=0) - gram[fold], moment.sum(axis=0) - moment[fold]) for fold in range(FOLDS)
        ]

    def scores(self, points: Reals, folds: NDArray[np.int64]) -> Reals:
        """For each class about 1 for its members and 0 for others, each image by the model without its fold."""
        result = np.empty((len(points), self._solutions[0].shape[1]), np.float32)
        for fold, solution in enumerate(self._solutions):
            rows = np.flatnonzero(folds == fold)
            for part in (rows[each] for each in _parts(len(rows))):
                result[part] = self._units(points[part]) @ solution
        return result

    def _units(self, points: Reals) -> Reals:
        units = np.ones((len(points), _UNITS + 1), np.float32)
        np.maximum(points @ self._weight + self._bias, 0, out=units[:, :-1])
        return units


def _ridge(gram: NDArray[np.float64], moment: NDArray[np.float64]) -> Reals:
    gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram) / len(gram) + 1e-12
    return np.linalg.solve(gram, moment).astype(np.float32)


def _calibrate(scores: Reals, target: NDArray[np.int64], classes: int) -> _Calibration:
    """Fit what makes out-of-fold scores probabilities; of many classes the scores are large, so no copy is made."""
    members = np.bincount(target, minlength=classes)
    means = np.stack([scores[target == each].mean(axis=0, dtype=np.float64) for each in range(classes)])
    slope = np.linalg.solve(_within(scores, means, target), means.T)
    prior = members / members.sum()
    offset = np.log(prior) - 0.5 * (means.T * slope).sum(axis=0)
    few = slice(max(2000, _LOGITS // classes))
    temperature, wrong = _most_likely(scores[few] @ slope + offset, target[few], prior)
    calibration = _Calibration(
        slope=(slope / temperature).astype(np.float32),
        offset=(offset / temperature).astype(np.float32),
        chance=(wrong / (1 - wrong) * prior).astype(np.float32),
        confidence=np.zeros(classes, np.float32),
    )
    sure = np.zeros(classes)
    for part in _parts(len(scores)):
        own = calibration(scores[part])[np.arange(len(target[part])), target[part]]
        sure += np.bincount(target[part], own, minlength=classes)
    return replace(calibration, confidence=(sure / members).astype(np.float32))


def _most_likely(
    logits: NDArray[np.float64], target: NDArray[np.int64], prior: NDArray[np.float64]
) -> tuple[float, float]:
    """The temperature and the share of wrong labels under which the labels are likeliest."""
    each, chance = np.arange(len(target)), _WRONG_SHARES[:, None] * prior[target]
    best, found = np.inf, (1.0, 0.0)
    for temperature in _TEMPERATURES:
        own = _softmax(logits / temperature)[each, target]
        losses = -np.log((1 - _WRONG_SHARES[:, None]) * own + chance).mean(axis=1)
        if losses.min() < best:
            best, found = losses.min(), (float(temperature), float(_WRONG_SHARES[losses.argmin()]))
    return found


def _within(scores: Reals, means: NDArray[np.float64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Covariance within the classes, shrunk towards a multiple of one (Ledoit & Wolf, 2004)."""
    count, size = scores.shape
    covariance, fourth = np.zeros((size, size)), 0.0
    for part in _parts(count):
        centred = scores[part] - means[target[part]]
        covariance += centred.T @ centred / count
        fourth += float(np.square(np.square(centred).sum(axis=1)).sum()) / count
    level = np.trace(covariance) / size + 1e-12
    spread = float(np.square(covariance - level * np.eye(size)).sum())
    noise = (fourth - float(np.square(covariance).sum())) / count
    share = min(1.0, max(noise / spread, 1e-6)) if spread > 0 else 1.0
    result: NDArray[np.float64] = share * level * np.eye(size) + (1 - share) * covariance
    return result


def _parts(count: int) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[Any] = raised / raised.sum(axis=1, keepdims=True)
    return result
