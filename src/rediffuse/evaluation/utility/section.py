"""The section `utility` of metrics/evaluate.json: what generated images are good for.

Does a classifier of real images recognise them (GAN-test), can one learn from them (CAS), and do they add to what it
learns from real images (augmentation)?
"""

from dataclasses import asdict, dataclass
from typing import Any

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors import Extractor
from rediffuse.evaluation.extractors.classifier import Labels
from rediffuse.evaluation.samples import Samples
from rediffuse.evaluation.utility import augmentation, cas, gan_test, real_trainings
from rediffuse.evaluation.utility.agreement import Agreement
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.real_trainings import RealTrainings
from rediffuse.evaluation.utility.repeated import share_right
from rediffuse.evaluation.utility.settings import ALL, UtilitySettings


@dataclass(frozen=True)
class Utility:
    """What `utility_metrics` gives.

    Args:
        metrics: the section; None where nothing can be said.
        protocol: how it was made, or in words why there is none.
        agreement: on real test images, of the first classifier trained on generated ones; its confusion counts each
            test image once.
    """

    metrics: dict[str, Any] | None
    protocol: dict[str, Any] | str
    agreement: Agreement | None


def utility_metrics(
    samples: Samples,
    seen: Labels,
    *,
    train: Examples,
    val: Examples,
    test: Examples,
    classes: tuple[str, ...],
    real: RealTrainings | None,
    judge: Extractor,
    settings: UtilitySettings,
) -> Utility:
    """Score labelled samples; unlabelled images, real or generated, are left out.

    Args:
        seen: the class that the judge sees in each sample, (M,).
        classes: names of the classes; none: unlabelled data.
        real: what the stage `reference` left of these splits; None without classes.
        judge: the classifier trained on real images.
    """
    if not classes or real is None:
        return Utility(None, "none: the data has no classes", None)
    generated = Pairs.labelled(samples.images, samples.labels)
    if not len(generated):
        return Utility(None, "none: the samples were asked for without classes", None)
    learning, validation, testing = (Pairs.labelled(split.images, split.labels) for split in (train, val, test))
    taught = generated[: len(learning)]
    score = cas.classification_score(taught, validation, testing, settings)
    within = settings.counts_within(len(learning))
    comparable = len(taught) == len(learning)
    return Utility(
        metrics={
            **gan_test.gan_test_metrics(generated.labels, seen[samples.labels >= 0], classes, settings.seed),
            **score.metrics(real.hits[ALL] if comparable else None, classes),
            **share_right(real.hits[ALL]).named("real_accuracy"),
            "augmentation": augmentation.augmentation_metrics(learning, taught, testing, real, settings),
        },
        protocol={
            "extractor": judge.name,
            "digest": judge.digest,
            "images": len(testing),
            "judged": f"{len(generated)} generated images",
            "tested_on": f"test ({len(testing)} images)",
            "validated_on": f"val ({len(validation)} images)",
            "pairs": score.trained_on,
            "real_pairs": f"train ({len(learning)} images)",
            "cas_gap": "from as many real pairs"
            if comparable
            else "none: there are more real pairs than generated ones",
            "repeats": settings.repeats,
            "real_counts": list(within),
            "skipped_real_counts": [str(count) for count in settings.real_counts if str(count) not in within],
            "recipe": asdict(settings.recipe),
            "seed": settings.seed,
            "streams": {
                "cas": cas.STREAM,
                "real": real_trainings.STREAM,
                "shuffled": gan_test.STREAM,
            },
        },
        agreement=score.agreements[0],
    )
