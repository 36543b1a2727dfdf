"""Scores of many small sets of images of one model: the points of two curves, all at one size, by one protocol.

That of `fidelity.protocol`, without the floors: n = min(images, test images) in a fold. The real images are prepared
once for all points. Settings are chosen by these curves, so no point sees a test image: the reference are the training
images, and a classifier trained on generated images is tested on validation images.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rediffuse.evaluation.extractors.classifier import Images, Labels
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.fidelity.protocol import in_folds
from rediffuse.evaluation.fidelity.spread import estimates
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.reference import Reference
from rediffuse.evaluation.utility import cas
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.settings import UtilitySettings

Scores = dict[str, float]

_ENDS = ("", "_low", "_high")
_FIDELITY = ("fd", "precision", "recall")
_UTILITY = ("cas_val_accuracy", "gan_test_accuracy")

GUIDANCE_COLUMNS = ("guidance", *(f"{name}{end}" for name in (*_FIDELITY, *_UTILITY) for end in _ENDS))
EVALUATIONS_COLUMNS = ("sampler", "steps", "evaluations", *(f"fd{end}" for end in _ENDS))


@dataclass(frozen=True, kw_only=True)
class PointJudge:
    """Scores one point after the other.

    Args:
        reference: of the real images.
        standard: of the real training images' features by its first extractor.
        size: n, the images of a fold.
        validation: the labelled real validation images.
        usefulness: settings by which the classifier of `reference` was trained.
    """

    reference: Reference
    standard: Standard
    size: int
    validation: Pairs
    usefulness: UtilitySettings

    def score(self, images: Images, labels: Labels, *, utility: bool) -> Scores:
        """fd, precision and recall; with `utility`, where classes were asked for, cas_val_accuracy and
        gan_test_accuracy. Each has its `_low` and `_high`.

        Args:
            images: uint8, (M, C, H, W).
            labels: the classes asked for, (M,), -1 for none.
        """
        folds = in_folds(self.standard, self.reference.main.extract(images), self.size)
        found = estimates(folds, self.standard)
        scores = {name: found[name] for name in _FIDELITY}
        asked = Pairs.labelled(images, labels)
        if utility and self.usefulness.shape.classes and len(asked):
            classifier = self.reference.classifier
            seen = classify(classifier, extract(classifier, asked.images))
            scores["cas_val_accuracy"] = self._cas(asked)
            scores["gan_test_accuracy"] = Estimate.of_share(seen == asked.labels)
        return {key: value for name, each in scores.items() for key, value in each.named(name).items()}

    def _cas(self, asked: Pairs) -> Estimate:
        """CAS on validation images, by one training on all pairs; its interval holds the images only."""
        network = self.usefulness.trained(asked, cas.STREAM, 0)
        seen = classify(network, extract(network, self.validation.images))
        return Estimate.of_share(seen == self.validation.labels)


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
        guidance: {scale: scores}; evaluations: {sampler: {evaluations an image: {steps, scores}}};
        best_guidance, best_sampler, best_evaluations: where the FD is least, absent from a curve without points;
        best_guidance_alike: [other scales], best_evaluations_alike: {sampler: [evaluations]}, whose interval of FD
        overlaps that of the least, so that these points do not tell which is best;
        protocol.
    """
    guidance, evaluations = list(guidance), list(evaluations)
    by_sampler: dict[str, dict[str, Scores]] = {}
    for sampler, steps, scores in evaluations:
        shown = {name: value for name, value in scores.items() if name.startswith(_FIDELITY)}
        by_sampler.setdefault(sampler, {})[f"{scores['evaluations']:g}"] = {"steps": steps, **shown}
    best: dict[str, Any] = {}
    if guidance:
        least, alike = _least([scores for _, scores in guidance])
        best |= {"best_guidance": guidance[least][0], "best_guidance_alike": [guidance[at][0] for at in alike]}
    if evaluations:
        least, alike = _least([scores for *_, scores in evaluations])
        by_name: dict[str, list[float]] = {}
        for sampler, _, scores in (evaluations[at] for at in alike):
            by_name.setdefault(sampler, []).append(scores["evaluations"])
        sampler, _, scores = evaluations[least]
        best |= {"best_sampler": sampler, "best_evaluations": scores["evaluations"], "best_evaluations_alike": by_name}
    return {
        "guidance": {f"{scale:g}": scores for scale, scores in guidance},
        "evaluations": by_sampler,
        **best,
        "protocol": dict(protocol),
    }


def _least(points: Sequence[Scores]) -> tuple[int, list[int]]:
    """Which point has the least FD, and which others an interval that overlaps its interval."""
    least = min(range(len(points)), key=lambda at: points[at]["fd"])
    low, high = points[least]["fd_low"], points[least]["fd_high"]
    return least, [
        at for at, each in enumerate(points) if at != least and each["fd_low"] <= high and low <= each["fd_high"]
    ]
