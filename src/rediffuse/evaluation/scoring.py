"""All scores of one set of generated images, and the protocol they were made by: the content of metrics/evaluate.json.

Two questions, two sections: `fidelity` asks whether the images follow the distribution of the real ones, `utility` what
they are good for. Data without classes has no utility.
"""

from dataclasses import dataclass
from typing import Any

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors.features import Features, classify
from rediffuse.evaluation.fidelity.classes import Labelled
from rediffuse.evaluation.fidelity.section import FeatureSets, fidelity_metrics
from rediffuse.evaluation.fidelity.settings import FidelitySettings, check_splits
from rediffuse.evaluation.reference import JUDGE, Reference
from rediffuse.evaluation.samples import Samples
from rediffuse.evaluation.utility.agreement import Agreement
from rediffuse.evaluation.utility.real_trainings import RealTrainings
from rediffuse.evaluation.utility.section import utility_metrics
from rediffuse.evaluation.utility.settings import UtilitySettings


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
        agreement: on real test images, of the first classifier trained on generated ones; None without classes.
        labels: what the images show; None without classes.
    """

    metrics: dict[str, Any]
    agreement: Agreement | None
    labels: Labelled | None


def score(
    samples: Samples,
    generated: dict[str, Features],
    real: RealImages,
    reference: Reference,
    *,
    settings: FidelitySettings,
    trainings: RealTrainings | None,
    usefulness: UtilitySettings,
) -> Scores:
    """Score generated images against real ones, and where there are classes train a classifier on them.

    Args:
        generated: of `samples`, by `Reference.extract`.
        reference: made of the splits of `real`.
        trainings: what classifiers of the real images know; None without classes.
        usefulness: settings of `utility`, by which the classifier of `reference` was trained too.

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
    utility = utility_metrics(
        samples,
        labels.seen if labels else samples.labels,
        train=real.train,
        val=real.val,
        test=real.test,
        classes=real.classes,
        real=trainings,
        judge=reference.judge,
        settings=usefulness,
    )
    protocol = {**fidelity.protocol, "utility": utility.protocol}
    return Scores(
        {**fidelity.metrics, "utility": utility.metrics, "n_samples": len(samples.images), "protocol": protocol},
        utility.agreement,
        labels,
    )
