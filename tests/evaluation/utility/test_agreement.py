"""Agreement against scikit-learn and by hand, and its jackknife against leaving out each pair in earnest."""

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from rediffuse.evaluation.utility.agreement import SCORES, Agreement, macro_without_each, mean_by_class


def drawn(seed: int, count: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Classes of unlike size, of which the last is never predicted, half of the predictions right."""
    draw = np.random.default_rng(seed)
    actual = draw.choice(classes, count, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    return actual, np.where(draw.random(count) < 0.5, actual, draw.integers(0, classes, count)) % (classes - 1)


def test_agreement_of_a_small_example_by_hand() -> None:
    actual, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 1])
    agreement = Agreement.of(actual, predicted, 4)
    assert agreement.accuracy == pytest.approx(0.5)
    assert agreement.confusion.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert agreement.per_class[0] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
    assert agreement.per_class[1] == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 0.4})
    # Never predicted: 0, not a warning or NaN.
    assert agreement.per_class[2] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    # A mean over the three classes that occur.
    assert agreement.macro["recall"] == pytest.approx((2 / 3 + 1 / 2) / 3)


def test_it_is_scikit_learns_report_and_confusion_matrix() -> None:
    actual, predicted = drawn(0)
    agreement = Agreement.of(actual, predicted, 5)
    report = classification_report(actual, predicted, labels=range(5), output_dict=True, zero_division=0.0)
    assert agreement.accuracy == report["accuracy"]
    for ours, theirs in [
        (agreement.macro, report["macro avg"]),
        *zip(agreement.per_class, map(report.get, "01234"), strict=True),
    ]:
        assert ours == {"precision": theirs["precision"], "recall": theirs["recall"], "f1": theirs["f1-score"]}
    assert np.array_equal(agreement.confusion, confusion_matrix(actual, predicted))


def test_perfect_predictions_are_perfect_over_all_whatever_classes_the_images_show() -> None:
    shown = np.arange(30) % 3
    assert Agreement.of(shown, shown, 4).macro == {"precision": 1, "recall": 1, "f1": 1}
    assert all((without == 1).all() for without in macro_without_each(shown, shown, 4).values())


def test_pairs_without_an_actual_class_count_for_nothing() -> None:
    actual, predicted = drawn(1)
    some = np.where(np.arange(200) % 3, actual, -1)
    left = some >= 0
    found, expected = Agreement.of(some, predicted, 5), Agreement.of(actual[left], predicted[left], 5)
    assert (found.accuracy, found.macro, found.per_class) == (expected.accuracy, expected.macro, expected.per_class)
    assert found.confusion.sum() == left.sum()


@pytest.mark.parametrize("count", [200, 12, 2])
@pytest.mark.parametrize("absent", [False, True])
def test_scores_without_each_pair_are_those_of_the_others(count: int, absent: bool) -> None:
    """Also where a class is predicted that does not occur, and where a class has one pair alone."""
    actual, predicted = drawn(2, count)
    actual = np.where(absent & (actual == 2), 1, actual)
    without = macro_without_each(actual, predicted, 5)
    others = [Agreement.of(np.delete(actual, row), np.delete(predicted, row), 5).macro for row in range(count)]
    for name in SCORES:
        np.testing.assert_allclose(without[name], [each[name] for each in others], atol=1e-12)


def test_a_class_report_over_trainings_is_their_mean() -> None:
    actual, predicted = drawn(3)
    right, wrong = Agreement.of(actual, actual, 5), Agreement.of(actual, predicted, 5)
    report = mean_by_class([right, wrong], ("a", "b", "c", "d", "e"))
    assert report["b"]["f1"] == pytest.approx((1 + wrong.per_class[1]["f1"]) / 2)
    assert report["e"]["recall"] == pytest.approx(0.5)
