"""Intervals against closed forms and scipy's."""

import numpy as np
import pytest
from scipy import stats

from rediffuse.evaluation.intervals import Estimate, jackknife_error


def test_the_jackknife_of_a_mean_is_the_interval_of_the_mean() -> None:
    values = np.random.default_rng(0).standard_normal(20)
    without = (values.sum() - values) / 19
    found, expected = Estimate.of_groups(float(values.mean()), without), Estimate.of_mean(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-10)
    low, high = stats.t.interval(0.95, 19, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-10)


def test_groups_of_unequal_size_are_weighed_by_it() -> None:
    """Of a mean over groups it is the spread of the group means, those of large groups counting more."""
    draw = np.random.default_rng(0)
    sizes = np.array([5, 6, 5, 6, 6, 5, 6, 5])
    errors, means = [], []
    for _ in range(2000):
        values = draw.standard_normal(sizes.sum())
        groups = np.split(values, np.cumsum(sizes)[:-1])
        without = np.array([(values.sum() - group.sum()) / (len(values) - len(group)) for group in groups])
        errors.append(jackknife_error(float(values.mean()), without, sizes))
        means.append(values.mean())
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(means), rel=0.05)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(1 / np.sqrt(sizes.sum()), rel=0.05)


def test_a_bias_that_shrinks_with_size_is_no_spread() -> None:
    sizes = np.array([1, 2, 1, 2, 2])
    biased = 1 / (sizes.sum() - sizes)
    assert jackknife_error(1 / sizes.sum(), biased, sizes) == pytest.approx(0, abs=0.01)


def test_an_interval_is_clipped_to_what_the_score_can_be() -> None:
    found = Estimate(0.95, 0.7, 1.2).clipped(0.0, 1.0)
    assert (found.value, found.low, found.high) == (0.95, 0.7, 1.0)
    assert Estimate(0.1, -0.2, 0.4).clipped(0.0).named("fd") == {"fd": 0.1, "fd_low": 0.0, "fd_high": 0.4}
