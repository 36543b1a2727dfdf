"""How predicted classes agree with the actual ones: accuracy, precision, recall and F1, by class and over all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from rediffuse.evaluation.extractors.classifier import Labels

SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Agreement:
    """How predicted classes agree with the actual ones.

    Args:
        accuracy: share of equal pairs.
        macro: precision, recall and F1, each the mean over the classes that occur among the actual ones.
        per_class: the same three for each class, in the order of the class indices; 0 for one that does not occur.
        confusion: counts (actual, predicted).
    """

    accuracy: float
    macro: dict[str, float]
    per_class: list[dict[str, float]]
    confusion: NDArray[np.int64]

    @classmethod
    def of(cls, actual: Labels, predicted: Labels, classes: int) -> "Agreement":
        """Of two label vectors (N,), where actual is -1 left out; a class that is never predicted has precision 0."""
        known = actual >= 0
        actual, predicted = actual[known], predicted[known]
        indices = np.arange(classes)
        *columns, support = precision_recall_fscore_support(actual, predicted, labels=indices, zero_division=0.0)
        shown = support > 0
        return cls(
            accuracy=float(accuracy_score(actual, predicted)),
            macro={name: _mean(column[shown]) for name, column in zip(SCORES, columns, strict=True)},
            per_class=[
                {name: float(column[index]) for name, column in zip(SCORES, columns, strict=True)} for index in indices
            ],
            confusion=np.bincount(actual * classes + predicted, minlength=classes**2).reshape(classes, classes),
        )


def by_class(agreement: Agreement, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """The per-class scores of an agreement by class name."""
    return dict(zip(names, agreement.per_class, strict=True))


def mean_by_class(agreements: list[Agreement], names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """The per-class scores by class name, each the mean over agreements on the same images."""
    return {
        name: {score: float(np.mean([each.per_class[index][score] for each in agreements])) for score in SCORES}
        for index, name in enumerate(names)
    }


def macro_without_each(actual: Labels, predicted: Labels, classes: int) -> dict[str, NDArray[np.float64]]:
    """Macro precision, recall and F1 of N pairs without each pair in turn, each (N,): what a jackknife needs.

    Leaving out one pair changes the scores of its two classes alone, so all N cost as much as a few. Where it was the
    only one of its class, that class no longer counts.
    """
    right = np.bincount(actual[actual == predicted], minlength=classes).astype(np.float64)
    shown = np.bincount(actual, minlength=classes).astype(np.float64)
    named = np.bincount(predicted, minlength=classes).astype(np.float64)
    whole = _scores(right, shown, named)
    hit = (actual == predicted).astype(np.float64)
    # Of the actual class there is one image less, and of the predicted one a prediction less; for a hit both are one.
    of_actual = _scores(right[actual] - hit, shown[actual] - 1, named[actual] - hit)
    of_predicted = _scores(right[predicted], shown[predicted], named[predicted] - 1)
    # A class that is never shown has no right prediction: its scores are 0, and add nothing.
    left = np.maximum((shown > 0).sum() - (shown[actual] == 1), 1)
    return {
        name: (
            whole[name].sum()
            + (of_actual[name] - whole[name][actual] + (1 - hit) * (of_predicted[name] - whole[name][predicted]))
        )
        / left
        for name in SCORES
    }


def _mean(column: NDArray[np.float64]) -> float:
    return float(column.mean()) if len(column) else 0.0


def _scores(
    right: NDArray[np.float64], shown: NDArray[np.float64], named: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Of counts: rightly predicted, of that class, predicted to be of it; 0 where there is nothing to divide by."""
    return {
        "precision": right / np.maximum(named, 1),
        "recall": right / np.maximum(shown, 1),
        "f1": 2 * right / np.maximum(shown + named, 1),
    }
