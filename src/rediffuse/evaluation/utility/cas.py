"""CAS, the classification accuracy score (Ravuri & Vinyals, 2019; GAN-train).

A classifier is trained from scratch on generated pairs alone and tested on real test images. It falls when images are
poor or of another class than they were asked for, and also when they lack variety.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rediffuse.evaluation.extractors.classifier import Labels
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.agreement import Agreement, mean_by_class
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.repeated import Hits, difference, macro_scores, share_right
from rediffuse.evaluation.utility.settings import UtilitySettings

STREAM = "evaluate/cas"


@dataclass(frozen=True)
class ClassificationScore:
    """What classifiers trained on generated pairs make of real images.

    Args:
        actual: classes of the real test images, (n,).
        predicted: by each of R trainings, (n,).
        validated: which real validation images each training gets right, (R, m).
        trained_on: generated pairs.
        classes: number of classes.
    """

    actual: Labels
    predicted: tuple[Labels, ...]
    validated: Hits
    trained_on: int
    classes: int

    @property
    def hits(self) -> Hits:
        """Which test images each training gets right, (R, n)."""
        return np.array([each == self.actual for each in self.predicted])

    @property
    def agreements(self) -> list[Agreement]:
        """Of each training with the actual classes; the first one's counts are the confusion matrix that is shown."""
        return [Agreement.of(self.actual, each, self.classes) for each in self.predicted]

    def metrics(self, real: Hits | None, names: tuple[str, ...]) -> dict[str, Any]:
        """The scores as `utility` holds them.

        Args:
            real: which test images as many classifiers of real images get right, (R, n), for the gap to them; None:
                they learnt from more images, and a gap would tell of quantity as much as of quality.
            names: of the classes.
        """
        macro = macro_scores(self.actual, self.predicted, self.classes)
        return {
            **share_right(self.hits).named("cas_accuracy"),
            **share_right(self.validated).named("cas_val_accuracy"),
            **{key: value for name, score in macro.items() for key, value in score.named(f"cas_macro_{name}").items()},
            "per_class": mean_by_class(self.agreements, names),
            **({} if real is None else difference(real, self.hits).named("cas_gap")),
        }


def classification_score(
    generated: Pairs, validation: Pairs, test: Pairs, settings: UtilitySettings
) -> ClassificationScore:
    """Train `settings.repeats` times on `generated`, and test on real images.

    Nothing is chosen on validation or test: the weights are those of the last step.
    """
    predicted, validated = [], []
    for repeat in range(settings.repeats):
        network = settings.trained(generated, STREAM, repeat)
        predicted.append(classify(network, extract(network, test.images)))
        seen = classify(network, extract(network, validation.images))
        validated.append(seen == validation.labels)
    return ClassificationScore(
        actual=test.labels,
        predicted=tuple(predicted),
        validated=np.array(validated),
        trained_on=len(generated),
        classes=settings.shape.classes,
    )
