"""AUC, U and hits against scipy and scikit-learn; intervals that cover."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score, roc_curve

from rediffuse.evaluation.memorisation.separation import Separation


def groups(first: int, second: int, shift: float, seed: int = 0, *, coarse: bool = False) -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(seed)
    values = draw.standard_normal(first) + shift, draw.standard_normal(second)
    return tuple(np.round(each, 1) if coarse else each for each in values)


@pytest.mark.parametrize("coarse", [False, True], ids=["no ties", "ties"])
@pytest.mark.parametrize(("first", "second", "shift"), [(300, 200, 0.5), (40, 900, -1.0), (5, 7, 0.0)])
def test_auc_u_and_hits_are_those_of_scipy_and_scikit_learn(
    first: int, second: int, shift: float, coarse: bool
) -> None:
    one, other = groups(first, second, shift, coarse=coarse)
    found = Separation(one, other)
    actual, scores = np.r_[np.ones(first), np.zeros(second)], np.r_[one, other]
    assert found.auc.value == pytest.approx(roc_auc_score(actual, scores), abs=1e-12)
    u, p = mannwhitneyu(one, other, method="asymptotic", use_continuity=False)
    assert found.auc.value * first * second == pytest.approx(u, abs=1e-6)
    z = (found.auc.value - 0.5) * found.unit
    assert 2 * norm.sf(abs(z)) == pytest.approx(p, rel=1e-9)
    rates, hits, _ = roc_curve(actual, scores, drop_intermediate=False)
    for false_alarms in (0.01, 0.05, 0.3):
        share = found.hits(false_alarms, np.random.default_rng(0)).value
        assert share == pytest.approx(hits[rates <= false_alarms].max(), abs=1e-12)


def test_numbers_that_are_all_equal_separate_nothing() -> None:
    alike = Separation(np.zeros(30), np.zeros(20))
    assert (alike.auc.value, alike.unit) == (0.5, 0.0)
    assert alike.hits(0.01, np.random.default_rng(0)).value == 0


def test_groups_that_do_not_overlap_have_an_interval_all_the_same() -> None:
    apart = Separation(np.arange(100.0, 130), np.arange(20.0))
    assert apart.auc.value == apart.auc.high == 1.0
    assert 0.8 < apart.auc.low < 0.9
    assert Separation(np.ones(1), np.zeros(1)).auc.low < 0.3


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_intervals_cover_the_large_sample_value(shift: float) -> None:
    """AUC of two normal distributions is Φ(δ/√2), and the hits at 1 % false alarms are Φ(δ − 2.326)."""
    auc, hits = norm.cdf(shift / np.sqrt(2)), norm.cdf(shift - norm.ppf(0.99))
    covered = np.zeros(2)
    for seed in range(50):
        found = Separation(*groups(180, 180, shift, seed + 100))
        estimates = found.auc, found.hits(0.01, np.random.default_rng(seed))
        covered += [each.low <= value <= each.high for each, value in zip(estimates, (auc, hits), strict=True)]
    assert (covered >= 45).all()


def test_the_order_of_the_numbers_changes_no_bit() -> None:
    one, other = groups(300, 200, 0.5)
    found, turned = Separation(one, other), Separation(one[::-1].copy(), np.sort(other))
    assert found.auc.value == turned.auc.value
    assert found.unit == turned.unit
    assert found.hits(0.01, np.random.default_rng(0)) == turned.hits(0.01, np.random.default_rng(0))
