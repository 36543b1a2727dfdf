"""Scores of many small sets of images of one model: the points of two curves, all at one size, by one protocol.

That of `fidelity.protocol`, without the floors: n = min(images, test images) in a fold. The real images are prepared
once for all points.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors.classifier import Images, Labels
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.fidelity.protocol import in_folds
from rediffuse.evaluation.fidelity.spread import estimates
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.reference import Reference
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier

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

_SHOWN = ("fd", "precision", "recall")


@dataclass(frozen=True, kw_only=True)
class PointJudge:
    """Scores one point after the other.

    Args:
        reference: of the real images.
        standard: of the real training images' features by its first extractor.
        size: n, the images of a fold.
        test: the real test images.
        recipe: the one that its classifier was trained by.
        seed: of the classifiers trained on generated images.
        device: where they are trained.
    """

    reference: Reference
    standard: Standard
    size: int
    test: Examples
    recipe: Recipe
    seed: int
    device: torch.device

    def score(self, images: Images, labels: Labels, *, utility: bool) -> Scores:
        """fd with fd_low and fd_high, precision, recall; with `utility`, where there are classes, cas_accuracy and
        gan_test_accuracy.

        Args:
            images: uint8, (M, C, H, W).
            labels: the classes asked for, (M,).
        """
        classifier = self.reference.classifier
        folds = in_folds(self.standard, self.reference.main.extract(images), self.size)
        found = estimates(folds, self.standard)
        scores = {**found["fd"].named("fd"), **{name: found[name].value for name in _SHOWN}}
        if utility and classifier.shape.classes:
            scores["cas_accuracy"] = self._cas(images, labels)
            scores["gan_test_accuracy"] = float((classify(classifier, extract(classifier, images)) == labels).mean())
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
