"""All scores of one set of generated images, and the protocol they were made by: the content of metrics/evaluate.json.

Two questions, two sections: `fidelity` asks whether the images follow the distribution of the real ones, `utility` what
they are good for. Data without classes has no utility.
"""

from dataclasses import dataclass
from typing import Any

import torch

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors.features import Features, classify
from rediffuse.evaluation.fidelity.classes import Labelled
from rediffuse.evaluation.fidelity.section import FeatureSets, fidelity_metrics
from rediffuse.evaluation.fidelity.settings import FidelitySettings, check_splits
from rediffuse.evaluation.reference import JUDGE, Reference
from rediffuse.evaluation.samples import Samples
from rediffuse.evaluation.utility.recipe import Recipe
from rediffuse.evaluation.utility.scores import Agreement, classification_score, utility_metrics


@dataclass(frozen=True, kw_only=True)
class RealImages:
    """The real splits, and the class names; none: unlabelled."""

    train: Examples
    val: Examples
    test: Examples
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """What `score` gives.

    Args:
        metrics: fidelity, by_extractor, controls, utility (None without classes), n_samples and protocol, unrounded.
        agreement: on real test images, of the classifier trained on generated ones; None without classes.
    """

    metrics: dict[str, Any]
    agreement: Agreement | None


def score(
    samples: Samples,
    generated: dict[str, Features],
    real: RealImages,
    reference: Reference,
    *,
    settings: FidelitySettings,
    recipe: Recipe,
    device: torch.device,
) -> Scores:
    """Score generated images against real ones, and where there are classes train a classifier on them.

    Args:
        generated: of `samples`, by `Reference.extract`.
        reference: made of the splits of `real`.
        recipe: the one that the classifier of `reference` was trained by.

    Raises:
        UserError: a real split is too small for `settings.neighbours`.
    """
    check_splits(len(real.train), len(real.test), settings.neighbours, settings.coverage_neighbours)
    labels = None
    if real.classes:
        labels = Labelled(
            names=real.classes,
            train=real.train.labels,
            test=real.test.labels,
            asked=samples.labels,
            seen=classify(reference.classifier, generated[JUDGE]),
            seen_test=classify(reference.classifier, reference.features[JUDGE].test),
        )
    sets = []
    for extractor in reference.extractors:
        known = reference.features[extractor.name]
        shown = generated[extractor.name]
        sets.append(
            FeatureSets(extractor.name, extractor.digest, known.train, known.test, shown, controls=known.controls)
        )
    fidelity = fidelity_metrics(sets, labels, settings)
    protocol = fidelity.protocol
    utility, agreement = None, None
    if labels:
        cas = classification_score(
            samples.images,
            samples.labels,
            pairs=len(real.train),
            validation=(real.val.images, real.val.labels),
            test=(real.test.images, real.test.labels),
            shape=reference.classifier.shape,
            recipe=recipe,
            seed=settings.seed,
            device=device,
        )
        utility = utility_metrics(
            gan_test=Agreement.of(samples.labels, labels.seen, len(real.classes)),
            score=cas,
            real=Agreement.of(real.test.labels, labels.seen_test, len(real.classes)),
            names=real.classes,
        )
        protocol["utility"] = {"cas_pairs": cas.trained_on}
        agreement = cas.test
    else:
        protocol["utility"] = "none: the data has no classes"
    return Scores(
        {**fidelity.metrics, "utility": utility, "n_samples": len(samples.images), "protocol": protocol},
        agreement,
    )
