"""Intervals over trainings and test images: by hand, in the cases without spread, and how often they hold the truth."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm, t

from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.utility.agreement import Agreement
from rediffuse.evaluation.utility.repeated import Hits, difference, macro_scores, share_right


def test_one_training_has_the_interval_of_wilson() -> None:
    hits = np.arange(180) >= 7
    found = share_right(hits[None])
    assert found == Estimate.of_share(hits)
    # Both ends p of Wilson's interval lie z standard errors of p from the share that was seen.
    z = norm.ppf(0.975)
    for end in (found.low, found.high):
        assert abs(found.value - end) == pytest.approx(z * np.sqrt(end * (1 - end) / 180))


def test_the_squared_error_is_that_of_trainings_and_that_of_images_together() -> None:
    draw = np.random.default_rng(0)
    right, wrong = draw.random((3, 50)) < 0.9, draw.random((3, 50)) < 0.6
    found = difference(right, wrong)
    differences = right.astype(float) - wrong
    of_trainings = differences.mean(axis=1).var(ddof=1) / 3
    of_images = (((differences.mean(axis=0) - differences.mean()) ** 2).sum() + 1) / 52**2
    degrees = (of_trainings + of_images) ** 2 / (of_trainings**2 / 2 + of_images**2 / 49)
    assert found.value == pytest.approx(right.mean() - wrong.mean())
    reach = t.ppf(0.975, degrees) * np.sqrt(of_trainings + of_images)
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))


def test_trainings_that_differ_widen_the_interval_and_equal_ones_do_not() -> None:
    one = np.random.default_rng(0).random(400) < 0.8
    equal, alone = share_right(np.array([one, one, one])), share_right(one[None])
    assert (equal.low, equal.high) == pytest.approx((alone.low, alone.high), abs=1e-3)
    worse = one & (np.random.default_rng(1).random(400) < 0.7)
    mixed = share_right(np.array([one, worse, one]))
    assert mixed.high - mixed.low > 2 * (alone.high - alone.low)
    assert 0 <= mixed.low < mixed.value < mixed.high <= 1


@pytest.mark.parametrize("right", [True, False])
def test_without_any_spread_to_see_an_interval_still_has_a_width(right: bool) -> None:
    hits = np.full((3, 180), right)
    share = share_right(hits)
    assert share.value == float(right)
    # No mistake in n answers leaves up to about 4 in n possible.
    assert share.high - share.low == pytest.approx(3.84 / 183.84, rel=0.03)
    same = difference(hits, hits)
    assert (same.value, same.low) == (0, -same.high)
    assert 0.005 < same.high < 0.02
    actual = np.arange(180) % 3
    macro = macro_scores(actual, [actual, actual], 3)["f1"]
    assert (macro.value, macro.high) == (1, 1)
    assert 0.97 < macro.low < 0.99


def test_macro_scores_lie_in_the_middle_of_the_trainings() -> None:
    draw = np.random.default_rng(0)
    actual = np.arange(300) % 3
    predicted = [np.where(draw.random(300) < share, actual, draw.integers(0, 3, 300)) for share in (0.7, 0.8)]
    found = macro_scores(actual, predicted, 3)
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(
            np.mean([Agreement.of(actual, each, 3).macro[name] for each in predicted])
        )
        assert estimate.low < estimate.value < estimate.high
    # Of classes alike in number, macro recall is accuracy, and its jackknife the spread of a share.
    accuracy = share_right(np.array(predicted) == actual)
    assert (found["recall"].low, found["recall"].high) == pytest.approx((accuracy.low, accuracy.high), abs=2e-3)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize(
    ("score", "truth"),
    [
        (lambda good, _: share_right(good), 0.85),
        (lambda good, poor: difference(good, poor), 0.15),
    ],
    ids=["share", "difference"],
)
def test_intervals_hold_what_ever_more_images_would_give(
    repeats: int, score: Callable[[Hits, Hits], Estimate], truth: float
) -> None:
    """Images of unlike difficulty, of which each training errs by chance: over test sets and trainings."""
    draw = np.random.default_rng(0)
    held = []
    for _ in range(400):
        difficulty = draw.beta(1.5, 3.5, 180)  # of mean 0.3
        # The spread over trainings that a single one can't show is left out where there is one.
        shift = draw.normal(0, 0.02, (2, repeats, 1)) if repeats > 1 else 0
        wrong = np.clip(difficulty * np.array([[[0.5]], [[1.0]]]) + shift, 0, 1)
        good, poor = draw.random((2, repeats, 180)) >= wrong
        found = score(good, poor)
        held.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(held) <= 0.995


def test_macro_intervals_hold_what_ever_more_images_would_give() -> None:
    """A fixed classifier of three classes of unlike size: repeated draws of the test set alone."""
    draw = np.random.default_rng(0)
    answers = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
    shares = np.array([0.5, 0.3, 0.2])
    joint = shares[:, None] * answers
    right = joint.diagonal()
    truth = {
        "precision": (right / joint.sum(axis=0)).mean(),
        "recall": (right / shares).mean(),
        "f1": (2 * right / (shares + joint.sum(axis=0))).mean(),
    }
    held = dict.fromkeys(truth, 0)
    for _ in range(300):
        cells = draw.choice(9, 150, p=joint.ravel())
        for name, found in macro_scores(cells // 3, [cells % 3], 3).items():
            held[name] += found.low <= truth[name] <= found.high
    assert all(count / 300 >= 0.9 for count in held.values()), held
