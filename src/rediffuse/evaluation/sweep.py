"""Scores of many small sets of images of one model: the points of two curves, all at one size, by one protocol.

As in `fidelity.protocol` a set is cut into folds of n = min(images, test images), and a score is the mean over the
folds. The real images are prepared once for all points, and nothing is computed that a curve does not show.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors.classifier import Images, Labels
from rediffuse.evaluation.extractors.features import Features, classify, extract
from rediffuse.evaluation.fidelity.measures import Manifold, precision_and_recall
from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.reference import Reference
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from rediffuse.frechet import Gaussian, frechet_distance
from rediffuse.seeds import hashed_seed

Scores = dict[str, float]

GUIDANCE_COLUMNS = (
    "guidance",
    "fd",
    "fd_low",
    "fd_high",
    "precision",
    "recall",
    "cas_accuracy",
    "gan_test_accuracy",
)
EVALUATIONS_COLUMNS = ("sampler", "steps", "evaluations", "fd", "fd_low", "fd_high")

_GROUPS = 10


@dataclass(frozen=True, kw_only=True)
class FidelityScale:
    """The real training images, as the features of each point are held against them.

    Args:
        gaussian: of all of them.
        manifold: of those of them that make it.
        neighbours: k of the manifolds.
        images: n, the size of a fold.
    """

    gaussian: Gaussian
    manifold: Manifold
    neighbours: int
    images: int

    @classmethod
    def of(cls, train: Features, images: int, *, seed: int, neighbours: int, manifold_points: int) -> "FidelityScale":
        """With the draw of `fidelity.protocol`, so that both score the same images alike."""
        draw = np.random.default_rng(hashed_seed(seed, "evaluate/manifold", index=0))
        some = draw.permutation(len(train))[:manifold_points]
        manifold = Manifold.of(train[some], neighbours)
        return cls(gaussian=Gaussian.of(train), manifold=manifold, neighbours=neighbours, images=images)

    def score(self, generated: Features) -> Scores:
        """fd with fd_low and fd_high, precision, recall of features (M, d), M at least `images`.

        The interval is the jackknife's over ten groups of neighbouring rows, whose labels cycle through the classes; a
        set of two images has none.
        """
        n = self.images
        folds = [generated[first : first + n] for first in range(0, len(generated) - n + 1, n)]
        shares = [precision_and_recall(self.manifold, Manifold.of(fold, self.neighbours)) for fold in folds]
        precision, recall = np.array(shares).mean(axis=0)
        fd = self._distance(folds)
        scores = {"fd": fd}
        if n > 2:
            groups = np.array_split(np.arange(n), min(_GROUPS, n))
            without = [self._distance([np.delete(fold, group, axis=0) for fold in folds]) for group in groups]
            scores = Estimate.of_groups(fd, np.array(without)).named("fd")
        return {**scores, "precision": float(precision), "recall": float(recall)}

    def _distance(self, folds: Iterable[Features]) -> float:
        return float(np.mean([frechet_distance(self.gaussian, Gaussian.of(fold)) for fold in folds]))


@dataclass(frozen=True, kw_only=True)
class PointJudge:
    """Scores one point after the other.

    Args:
        reference: of the real images.
        scale: made of its features.
        test: the real test images.
        recipe: the one that its classifier was trained by.
        seed: of the classifiers trained on generated images.
        device: where they are trained.
    """

    reference: Reference
    scale: FidelityScale
    test: Examples
    recipe: Recipe
    seed: int
    device: torch.device

    def score(self, images: Images, labels: Labels, *, utility: bool) -> Scores:
        """What `FidelityScale.score` gives; with `utility`, where there are classes, cas_accuracy, gan_test_accuracy.

        Args:
            images: uint8, (M, C, H, W).
            labels: the classes asked for, (M,).
        """
        classifier = self.reference.classifier
        features = extract(classifier, images)
        scores = self.scale.score(features)
        if utility and classifier.shape.classes:
            scores["cas_accuracy"] = self._cas(images, labels)
            scores["gan_test_accuracy"] = float((classify(classifier, features) == labels).mean())
        return scores

    def _cas(self, images: Images, labels: Labels) -> float:
        """CAS by one training on all of them."""
        shape = self.reference.classifier.shape
        network = train_classifier(
            images, labels, shape=shape, recipe=self.recipe, seed=self.seed, stream="evaluate/cas", device=self.device
        )
        seen = classify(network, extract(network, self.test.images))
        return float((seen == self.test.labels).mean())


def guidance_table(points: Iterable[tuple[float, Scores]]) -> pd.DataFrame:
    """A row a guidance scale; what was not computed is empty."""
    rows = [{"guidance": scale, **scores} for scale, scores in points]
    return pd.DataFrame(rows).reindex(columns=GUIDANCE_COLUMNS)


def evaluations_table(points: Iterable[tuple[str, int, Scores]]) -> pd.DataFrame:
    """A row a sampler and number of steps."""
    rows = [{"sampler": sampler, "steps": steps, **scores} for sampler, steps, scores in points]
    return pd.DataFrame(rows).reindex(columns=EVALUATIONS_COLUMNS)


def sweep_metrics(
    guidance: Iterable[tuple[float, Scores]],
    evaluations: Iterable[tuple[str, int, Scores]],
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of metrics/sweep.json.

    Returns:
        guidance: {scale: scores}; evaluations: {sampler: {evaluations an image: {steps, fd, fd_low, fd_high}}};
        best_guidance, best_sampler, best_evaluations: where the FD is least, absent from a curve without points;
        protocol.
    """
    guidance, evaluations = list(guidance), list(evaluations)
    by_sampler: dict[str, dict[str, Scores]] = {}
    for sampler, steps, scores in evaluations:
        shown = {name: value for name, value in scores.items() if name.startswith("fd")}
        by_sampler.setdefault(sampler, {})[f"{scores['evaluations']:g}"] = {"steps": steps, **shown}
    best: dict[str, Any] = {}
    if guidance:
        best["best_guidance"] = min(guidance, key=lambda point: point[1]["fd"])[0]
    if evaluations:
        sampler, _, scores = min(evaluations, key=lambda point: point[2]["fd"])
        best |= {"best_sampler": sampler, "best_evaluations": scores["evaluations"]}
    return {
        "guidance": {f"{scale:g}": scores for scale, scores in guidance},
        "evaluations": by_sampler,
        **best,
        "protocol": dict(protocol),
    }
