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
from rediffuse.frechet import Gaussian, frechet_distance

Labels = NDArray[np.int64]


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


def label_shares(labels: Labelled) -> dict[str, Any]:
    """Whether the classes come in the shares that were asked for, as the judge sees them.

    Returns:
        deviation: the total variation between the shares seen in the generated images and those asked for, 0 to 1;
        deviation_floor: between those seen in the real test images and their labels; by_class: asked, seen, and real,
        of the training images by their labels.
    """
    asked, seen, real, test, seen_test = (
        _shares(which, len(labels.names))
        for which in (labels.asked, labels.seen, labels.train, labels.test, labels.seen_test)
    )
    rows = zip(labels.names, asked.tolist(), seen.tolist(), real.tolist(), strict=True)
    return {
        "deviation": float(np.abs(seen - asked).sum() / 2),
        "deviation_floor": float(np.abs(seen_test - test).sum() / 2),
        "by_class": {name: {"asked": a, "seen": s, "real": r} for name, a, s, r in rows},
    }


def score_classes(
    train: Features, test: Features, generated: Features, labels: Labelled, settings: FidelitySettings
) -> dict[str, dict[str, float]]:
    """Fréchet distance and recall of the images asked for each class, against real ones of that class.

    The protocol is that of whole sets: folds of n = min(generated, test) images of the class against all training
    images of it, at most `settings.manifold_points` drawn by key for recall.

    Returns:
        by class: images (n), fd and recall, each with `_low`, `_high` and `_floor`; only images where the class has too
        few in some set.
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
    points = Points(train[settings.draw("manifold/class", at).permutation(len(train))[: settings.manifold_points]])
    shuffled = test[settings.draw("test/class", at).permutation(len(test))]
    made = _estimates(real, points, generated, size, settings.neighbours, intervals=True)
    floor = _estimates(real, points, shuffled, size, settings.neighbours, intervals=False)
    scores: dict[str, float] = {"images": size}
    for name, found in made.items():
        scores |= {**found.named(name), f"{name}_floor": floor[name].value}
    return scores


def _estimates(
    real: Gaussian, points: Points, features: Features, size: int, neighbours: int, *, intervals: bool
) -> Mapping[str, Estimate]:
    """The means over folds of `size`; the floors' intervals are not asked for, and cost most."""
    count = len(features) // size
    groups = Groups.of(size) if intervals and count < ENOUGH_FOLDS else Groups.one(size)
    values: dict[str, list[float]] = {"fd": [], "recall": []}
    errors: dict[str, list[float]] = {"fd": [], "recall": []}
    recalling = []
    for at in range(count):
        fold = features[at * size : (at + 1) * size]
        manifold = Manifold.of(Points(fold), neighbours, groups if groups.count > 1 else None)
        found = recall_of(points, manifold, groups)
        values["fd"].append(frechet_distance(real, Gaussian.of(fold)))
        values["recall"].append(found.recall)
        recalling.append(found.recalling)
        if groups.count > 1:
            fitted = Gaussian.without_each(np.split(fold, groups.starts[1:]))
            without = {"fd": np.array([frechet_distance(real, one) for one in fitted]), "recall": found.recall_without}
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
