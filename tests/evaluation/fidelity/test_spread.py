"""The intervals cover what the protocol gives on average over ever new sets of that size."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from rediffuse.evaluation.fidelity.manifold import harmonic_mean
from rediffuse.evaluation.fidelity.protocol import in_folds
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.spread import estimates
from rediffuse.evaluation.fidelity.standard import FoldScores, Standard

SETTINGS = FidelitySettings(
    neighbours=3, coverage_neighbours=5, manifold_points=10_000, kid_subsets=20, kid_subset_size=50, seed=0
)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def gaussian(mean: float = 0.0, scale: float = 1.0, dimension: int = 8) -> Draw:
    return lambda draw, n: (mean + scale * draw.standard_normal((n, dimension))).astype(np.float32)


def mixture(*shares: float, cycled: bool = False) -> Draw:
    """Four classes, in random order, or each in its turn, as sampling asks for them."""

    def drawn(draw: np.random.Generator, n: int) -> np.ndarray:
        labels = np.arange(n) % 4 if cycled else draw.choice(4, n, p=shares)
        return (4 * np.eye(4, 8)[labels] + 0.7 * draw.standard_normal((n, 8))).astype(np.float32)

    return drawn


def noise(draw: np.random.Generator, n: int) -> np.ndarray:
    """Seldom among real points: mostly every share is 0."""
    return draw.uniform(-6, 6, (n, 8)).astype(np.float32)


FOUR = mixture(0.25, 0.25, 0.25, 0.25)
WIDE = gaussian(dimension=128)
CASES: dict[str, tuple[Draw, Draw]] = {
    "gaussian, at the floor": (gaussian(), gaussian()),
    "gaussian, shifted": (gaussian(), gaussian(0.5)),
    "gaussian, too wide": (gaussian(), gaussian(0.0, 1.4)),
    "gaussian, nearly collapsed": (gaussian(), gaussian(0.0, 0.3)),
    "gaussian, against noise": (gaussian(), noise),
    "mixture, at the floor": (FOUR, FOUR),
    "mixture, classes in turn": (FOUR, mixture(cycled=True)),
    "mixture, a class missing": (FOUR, mixture(1 / 3, 1 / 3, 1 / 3, 0)),
    "more dimensions than images, at the floor": (WIDE, WIDE),
    "more dimensions than images, too wide": (WIDE, gaussian(0.0, 1.1, 128)),
}


def coverage(case: str, *, size: int, folds: int, truths: int) -> dict[str, float]:
    """The share of 200 intervals that hold the mean score of `truths` sets. Of 50 a right interval may hold 42."""
    real, generated = CASES[case]
    standard = Standard(real(np.random.default_rng(0), 400), SETTINGS)
    sets = (generated(np.random.default_rng([1, i]), size) for i in range(truths))
    many = [standard.fold(rows, i, errors=False).values for i, rows in enumerate(sets)]
    expected = {name: float(np.mean([values[name] for values in many])) for name in many[0]}
    hits = dict.fromkeys(expected, 0)
    for i in range(200):
        rows = generated(np.random.default_rng([2, i]), size * folds)
        for name, found in estimates(in_folds(standard, rows, size), standard).items():
            hits[name] += int(found.low <= expected[name] <= found.high)
    return {name: count / 200 for name, count in hits.items()}


@pytest.mark.parametrize(("case", "folds"), [("mixture, at the floor", 1), ("gaussian, shifted", 3)])
def test_intervals_cover_in_nine_of_ten_resamplings(case: str, folds: int) -> None:
    found = coverage(case, size=40, folds=folds, truths=400)
    assert min(found.values()) >= 0.9, found


@pytest.mark.slow
@pytest.mark.parametrize(("case", "folds"), list(product(CASES, [1, 2, 6])))
def test_intervals_cover_in_nine_of_ten_resamplings_wherever_the_sets_lie(case: str, folds: int) -> None:
    found = coverage(case, size=100, folds=folds, truths=1000)
    assert min(found.values()) >= 0.9, found


def judged(draw: np.random.Generator, share: float) -> FoldScores:
    """Sixty images of which that share is precise; half of the real ones are recalled."""
    precise, some = draw.random(60) < share, np.full(60, True)
    precision = float(precise.mean())
    values = {"precision": precision, "recall": 0.5, "f1": harmonic_mean(precision, 0.5), "fd": 1.0, "kid": 0.0}
    return FoldScores(values | {"mmd": 0.0, "density": 1.0, "coverage": 0.5}, 0.0, {}, precise, some * 1.0, some)


@pytest.mark.parametrize("share", [0.0011, 0.02, 0.5, 0.98, 0.998])
def test_eight_folds_that_all_say_none_or_all_leave_precision_a_width(share: float) -> None:
    standard = Standard(gaussian()(np.random.default_rng(0), 60), SETTINGS)
    draw = np.random.default_rng(1)
    true_f1 = np.mean([judged(draw, share).values["f1"] for _ in range(20_000)])
    found = [estimates([judged(draw, share) for _ in range(8)], standard) for _ in range(200)]
    for name, expected in (("precision", share), ("f1", true_f1)):
        held = [each[name].low <= expected <= each[name].high for each in found]
        assert np.mean(held) >= 0.9, name
        assert all(each[name].low < each[name].high for each in found)


@pytest.mark.parametrize("folds", [1, 5])
def test_intervals_are_not_wider_than_they_need_be(folds: int) -> None:
    """Half of a 95 % interval is about two standard deviations of the score over new sets."""
    real, generated = CASES["gaussian, shifted"]
    standard = Standard(real(np.random.default_rng(0), 400), SETTINGS)
    sets = [in_folds(standard, generated(np.random.default_rng([3, i]), 60 * folds), 60) for i in range(40)]
    found = [estimates(folds_of, standard) for folds_of in sets]
    for name in found[0]:
        spread = np.std([each[name].value for each in found], ddof=1)
        half = np.mean([each[name].high - each[name].low for each in found]) / 2
        assert 1.4 < half / spread < 3.6, name
