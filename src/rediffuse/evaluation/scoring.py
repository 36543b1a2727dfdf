"""All scores of one set of generated images, and the protocol they were made by: the content of metrics/evaluate.json.

Two questions, two sections: `fidelity` asks whether the images follow the distribution of the real ones, `utility` what
they are good for. Data without classes has no utility.
"""

from dataclasses import asdict, dataclass
from typing import Any

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors.features import Features, classify
from rediffuse.evaluation.fidelity.protocol import FidelitySettings, check_splits, score_fidelity
from rediffuse.evaluation.reference import Reference
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
        metrics: fidelity, utility (None without classes), n_samples and protocol, unrounded.
        agreement: on real test images, of the first classifier trained on generated ones; None without classes.
    """

    metrics: dict[str, Any]
    agreement: Agreement | None


def score(
    samples: Samples,
    generated: Features,
    real: RealImages,
    reference: Reference,
    *,
    settings: FidelitySettings,
    trainings: RealTrainings | None,
    usefulness: UtilitySettings,
) -> Scores:
    """Score generated images against real ones, and where there are classes train a classifier on them.

    Args:
        generated: of `samples`, by the classifier of `reference`.
        reference: made of the splits of `real`.
        trainings: what classifiers of the real images know; None without classes.
        usefulness: settings of `utility`, by which the classifier of `reference` was trained too.

    Raises:
        UserError: a real split is too small for `settings.neighbours`.
    """
    check_splits(len(real.train), len(real.test), settings.neighbours)
    fidelity = score_fidelity(reference.features["train"], reference.features["test"], generated, settings)
    protocol: dict[str, Any] = {
        "images": fidelity.images,
        "folds": fidelity.folds,
        "reference": f"train ({len(real.train)} images)",
        "floor": f"test ({len(real.test)} images)",
        "extractor": reference.digest,
        **asdict(settings),
    }
    utility = utility_metrics(
        samples,
        classify(reference.classifier, generated) if real.classes else samples.labels,
        train=real.train,
        val=real.val,
        test=real.test,
        classes=real.classes,
        real=trainings,
        judge=reference.digest,
        settings=usefulness,
    )
    protocol["utility"] = utility.protocol
    return Scores(
        {
            "fidelity": fidelity.scores,
            "utility": utility.metrics,
            "n_samples": len(samples.images),
            "protocol": protocol,
        },
        utility.agreement,
    )
