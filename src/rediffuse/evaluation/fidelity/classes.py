"""Class by class: does each look as its own real images do, and are all there that were asked for?

A class that is wholly missing moves the recall of a whole set by about its share alone. Here it stands out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.fidelity.distances import Points
from rediffuse.evaluation.fidelity.groups import Groups
from rediffuse.evaluation.fidelity.manifold import Manifold, recall_of
from rediffuse.evaluation.fidelity.settings import FidelitySettings, least_images
from rediffuse.evaluation.fidelity.spread import ENOUGH_FOLDS, over_folds, seldom
from rediffuse.evaluation.intervals import Estimate, jackknife_error
from rediffuse.evaluation.row_order import own_order
from rediffuse.frechet import Gaussian, distances_without_each, frechet_distance

Labels = NDArray[np.int64]

_BOOTSTRAP = 1000


@dataclass(frozen=True)
class Labelled:
    """What the images of each set show: positions in `names`, −1 for an image without a label.

    Args:
        names: of the classes.
        train, test: labels of the real images.
        asked, seen: of the generated images, the class asked for and the one that the judge sees.
        seen_test: the class that the judge sees in the real test images.
    """

    names: tuple[str, ...]
    train: Labels
    test: Labels
    asked: Labels
    seen: Labels
    seen_test: Labels


def label_shares(labels: Labelled, settings: FidelitySettings) -> dict[str, Any]:
    """Whether the classes come in the shares that were asked for, as the judge sees them.

    Returns:
        deviation: the total variation between the shares seen in the generated images and those asked for, 0 to 1, with
        its interval; deviation_floor: between those seen in the real test images and their labels. Images without a
        label count in neither. by_class: asked, seen, and real, of the training images by their labels.
    """
    asked, seen, real = (_shares(which, len(labels.names)) for which in (labels.asked, labels.seen, labels.train))
    rows = zip(labels.names, asked.tolist(), seen.tolist(), real.tolist(), strict=True)
    pairs, floor = (
        _pairs(*which, len(labels.names)) for which in ((labels.asked, labels.seen), (labels.test, labels.seen_test))
    )
    return {
        **_deviation(pairs, settings.draw("labels")).named("deviation"),
        "deviation_floor": float(_total_variation(floor.sum(axis=0), floor.sum(axis=1))),
        "by_class": {name: {"asked": a, "seen": s, "real": r} for name, a, s, r in rows},
    }


def _pairs(labels: Labels, seen: Labels, classes: int) -> NDArray[np.int64]:
    """How many images of each label (rows) the judge sees as each class; those without a label are left out."""
    known = labels >= 0
    return np.bincount(labels[known] * classes + seen[known], minlength=classes**2).reshape(classes, classes)


def _total_variation(seen: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
    """Half the sum of the differences of the shares; 0 without images. Counts (..., classes), (classes,)."""
    distance: NDArray[np.float64] = np.abs(seen - asked).sum(axis=-1) / (2 * max(asked.sum(), 1))
    return distance


def _deviation(pairs: NDArray[np.int64], draw: np.random.Generator) -> Estimate:
    """With the spread over draws of what is seen, given what was asked for (the parametric bootstrap)."""
    asked, seen = pairs.sum(axis=1), np.zeros((_BOOTSTRAP, len(pairs)), np.int64)
    for label in np.flatnonzero(asked):
        some = np.flatnonzero(pairs[label])
        seen[:, some] += draw.multinomial(asked[label], pairs[label, some] / asked[label], _BOOTSTRAP)
    spread = float(_total_variation(seen, asked).std(ddof=1))
    found = Estimate.around(float(_total_variation(pairs.sum(axis=0), asked)), spread)
    # Of images that the judge all sees as asked for, some few of others would be seen otherwise.
    otherwise = np.arange(asked.sum()) >= np.trace(pairs)
    return (seldom(found, otherwise, 1.0) if len(otherwise) else found).clipped(0.0, 1.0)


def score_classes(
    train: Features, test: Features, generated: Features, labels: Labelled, settings: FidelitySettings
) -> dict[str, dict[str, float]]:
    """Fréchet distance and recall of the images asked for each class, against real ones of that class.

    The protocol is that of whole sets: folds of n = min(generated, test) images of the class against all training
    images of it, at most `settings.manifold_points` drawn by key for recall.

    Returns:
        by class: images (n), fd and recall, each with `_low`, `_high` and `_floor`, which has them too; only images
        where the class has too few in some set.
    """
    return {
        name: _score_class(
            train[labels.train == at], test[labels.test == at], generated[labels.asked == at], settings, at
        )
        for at, name in enumerate(labels.names)
    }


def _score_class(
    train: Features, test: Features, generated: Features, settings: FidelitySettings, at: int
) -> dict[str, float]:
    size = min(len(generated), len(test))
    if min(size, len(train)) < least_images(settings.neighbours):
        return {"images": size}
    real = Gaussian.of(train)
    drawn = settings.draw("manifold/class", at).permutation(len(train))[: settings.manifold_points]
    points = Points(train[own_order(train)[drawn]], centre=real.mean)
    shuffled = test[own_order(test)][settings.draw("test/class", at).permutation(len(test))]
    scores: dict[str, float] = {"images": size}
    for suffix, features in (("", generated), ("_floor", shuffled)):
        for name, found in _estimates(real, points, features, size, settings.neighbours).items():
            scores |= found.named(f"{name}{suffix}")
    return scores


def _estimates(
    real: Gaussian, points: Points, features: Features, size: int, neighbours: int
) -> Mapping[str, Estimate]:
    """The means over folds of `size`, with their intervals."""
    count = len(features) // size
    groups = Groups.of(size) if count < ENOUGH_FOLDS else Groups.one(size)
    values: dict[str, list[float]] = {"fd": [], "recall": []}
    errors: dict[str, list[float]] = {"fd": [], "recall": []}
    recalling = []
    for at in range(count):
        fold = features[at * size : (at + 1) * size]
        manifold = Manifold.of(Points(fold, centre=real.mean), neighbours, groups if groups.count > 1 else None)
        found = recall_of(points, manifold, groups)
        values["fd"].append(frechet_distance(real, Gaussian.of(fold)))
        values["recall"].append(found.recall)
        recalling.append(found.recalling)
        if groups.count > 1:
            distances = distances_without_each(real, np.split(fold, groups.starts[1:]))
            without = {"fd": distances, "recall": found.recall_without}
            for name, series in without.items():
                errors[name].append(jackknife_error(values[name][-1], series, groups.sizes))
    fd, recall = (over_folds(np.array(values[name]), np.array(errors[name]), groups) for name in values)
    recall = seldom(recall, np.concatenate(recalling), size * neighbours / len(points))
    return {"fd": fd.clipped(0.0), "recall": recall.clipped(0.0, 1.0)}


def _shares(labels: Labels, classes: int) -> NDArray[np.float64]:
    """The share of each class among the labelled images; zeros where there is none."""
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    shares: NDArray[np.float64] = counts / max(counts.sum(), 1)
    return shares
