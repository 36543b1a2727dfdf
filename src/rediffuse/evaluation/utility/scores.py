"""What generated images are good for: does a classifier of real images recognise them, and can one learn from them?

- GAN-test (Shmelkov et al., 2018): the share of generated images in which the classifier trained on real images sees
  the class that was asked for. It falls when images are poor or of another class, but not when they are all alike.
- CAS, the classification accuracy score (Ravuri & Vinyals, 2019; GAN-train): a classifier trained from scratch on
  generated pairs alone, tested on real test images. It falls also when the images lack variety.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from rediffuse.evaluation.extractors.classifier import Images, Labels, Shape
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier


@dataclass(frozen=True)
class Agreement:
    """How predicted classes agree with the actual ones.

    Args:
        accuracy: share of equal pairs.
        macro: precision, recall and F1, each the mean over the classes.
        per_class: the same three for each class, in the order of the class indices.
        confusion: counts (actual, predicted).
    """

    accuracy: float
    macro: dict[str, float]
    per_class: list[dict[str, float]]
    confusion: NDArray[np.int64]

    @classmethod
    def of(cls, actual: Labels, predicted: Labels, classes: int) -> "Agreement":
        """Of two label vectors (N,); a class that is never predicted has precision 0."""
        indices = np.arange(classes)
        columns = precision_recall_fscore_support(actual, predicted, labels=indices, zero_division=0.0)[:3]
        names = ("precision", "recall", "f1")
        return cls(
            accuracy=float(accuracy_score(actual, predicted)),
            macro={name: float(column.mean()) for name, column in zip(names, columns, strict=True)},
            per_class=[
                {name: float(column[index]) for name, column in zip(names, columns, strict=True)} for index in indices
            ],
            confusion=np.asarray(confusion_matrix(actual, predicted, labels=indices), np.int64),
        )


@dataclass(frozen=True)
class ClassificationScore:
    """CAS: the agreement on real test images, the accuracy on real validation images, the pairs trained on."""

    test: Agreement
    validation_accuracy: float
    trained_on: int


def classification_score(
    images: Images,
    labels: Labels,
    *,
    pairs: int,
    validation: tuple[Images, Labels],
    test: tuple[Images, Labels],
    shape: Shape,
    recipe: Recipe,
    seed: int,
    device: torch.device,
) -> ClassificationScore:
    """Train on the first `pairs` generated pairs (or all, where there are fewer) and test on real images.

    Shape and recipe are those of the classifier trained on real images, so the two accuracies compare. Nothing is
    chosen on test: the weights are those of the last step.
    """
    network = train_classifier(
        images[:pairs], labels[:pairs], shape=shape, recipe=recipe, seed=seed, stream="evaluate/cas", device=device
    )
    predicted, validated = (classify(network, extract(network, real)) for real, _ in (test, validation))
    return ClassificationScore(
        test=Agreement.of(test[1], predicted, shape.classes),
        validation_accuracy=float((validated == validation[1]).mean()),
        trained_on=min(pairs, len(images)),
    )


def by_class(agreement: Agreement, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """The per-class scores of an agreement by class name."""
    return dict(zip(names, agreement.per_class, strict=True))


def utility_metrics(
    gan_test: Agreement, score: ClassificationScore, real: Agreement, names: tuple[str, ...]
) -> dict[str, Any]:
    """The section `utility` of metrics/evaluate.json.

    Args:
        gan_test: of the class asked for with the class that the real-trained classifier sees in a generated image.
        score: of the classifier trained on generated images.
        real: of the classifier trained on real images, on real test images.
        names: of the classes.
    """
    return {
        "gan_test_accuracy": gan_test.accuracy,
        "gan_test_recall": {name: scores["recall"] for name, scores in by_class(gan_test, names).items()},
        "cas_accuracy": score.test.accuracy,
        "cas_val_accuracy": score.validation_accuracy,
        **{f"cas_macro_{name}": value for name, value in score.test.macro.items()},
        "per_class": by_class(score.test, names),
        "real_accuracy": real.accuracy,
    }
