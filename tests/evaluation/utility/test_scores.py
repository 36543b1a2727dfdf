"""Utility on a perfect generator (real images), on one that ignores its labels, and by hand."""

import numpy as np
import pytest
import torch

from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.scores import (
    Agreement,
    ClassificationScore,
    by_class,
    classification_score,
    utility_metrics,
)


def score(images, labels, digits, shape, recipe, pairs=600):
    return classification_score(
        images,
        labels,
        pairs=pairs,
        validation=digits.test,
        test=digits.test,
        shape=shape,
        recipe=recipe,
        seed=0,
        device=torch.device("cpu"),
    )


def test_agreement_of_a_small_example_by_hand() -> None:
    actual, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 1])
    agreement = Agreement.of(actual, predicted, 4)
    assert agreement.accuracy == pytest.approx(0.5)
    assert agreement.confusion.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert agreement.per_class[0] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
    assert agreement.per_class[1] == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 0.4})
    # Never predicted: 0, not a warning or NaN.
    assert agreement.per_class[2] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert agreement.macro["recall"] == pytest.approx((2 / 3 + 1 / 2) / 4)


def test_real_images_in_place_of_generated_ones_teach_as_well_as_real_ones(digits, shape, recipe, classifier) -> None:
    result = score(*digits.train, digits, shape, recipe)
    real = (classify(classifier, extract(classifier, digits.test[0])) == digits.test[1]).mean()
    assert result.test.accuracy == pytest.approx(real, abs=0.03)
    assert result.validation_accuracy == result.test.accuracy
    assert result.trained_on == 600


def test_shuffled_labels_teach_nothing_and_fail_the_gan_test(digits, shape, recipe, classifier) -> None:
    images, labels = digits.train
    shuffled = np.random.default_rng(0).permutation(labels)
    assert score(images, shuffled, digits, shape, recipe).test.accuracy < 0.3
    seen = classify(classifier, extract(classifier, images))
    assert Agreement.of(labels, seen, 10).accuracy > 0.98
    assert Agreement.of(shuffled, seen, 10).accuracy < 0.2


def test_a_missing_class_is_never_recalled(digits, shape, recipe) -> None:
    images, labels = digits.train
    kept = labels != 4
    result = score(images[kept], labels[kept], digits, shape, recipe)
    assert result.test.per_class[4]["recall"] == 0.0
    assert result.test.per_class[0]["recall"] > 0.9
    assert result.trained_on == kept.sum()


def test_no_more_pairs_are_used_than_the_real_split_holds(digits, shape, recipe) -> None:
    images, labels = digits.train
    poisoned = np.where(np.arange(600) < 300, labels, (labels + 1) % 10)
    result = score(images, poisoned, digits, shape, recipe, pairs=300)
    assert result.trained_on == 300
    assert result.test.accuracy > 0.8


def test_the_metrics_have_the_names_that_other_tools_read() -> None:
    labels = np.arange(20) % 2
    good, poor = Agreement.of(labels, labels, 2), Agreement.of(labels, 1 - labels, 2)
    metrics = utility_metrics(good, ClassificationScore(poor, 0.25, 20), good, ("a", "b"))
    assert metrics == {
        "gan_test_accuracy": 1.0,
        "gan_test_recall": {"a": 1.0, "b": 1.0},
        "cas_accuracy": 0.0,
        "cas_val_accuracy": 0.25,
        "cas_macro_precision": 0.0,
        "cas_macro_recall": 0.0,
        "cas_macro_f1": 0.0,
        "per_class": by_class(poor, ("a", "b")),
        "real_accuracy": 1.0,
    }
