"""95 % intervals: how far a score may lie from what the same protocol would give with ever more images or trainings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A score with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, float]:
        """As metrics hold it: {name: value, name_low: low, name_high: high}."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    @classmethod
    def around(cls, value: float, error: float, degrees: float | None = None) -> "Estimate":
        """value ± q·error, q the 97.5 % quantile of Student's t, or of the normal distribution without `degrees`."""
        quantile = float(norm.ppf(0.5 + CONFIDENCE / 2) if degrees is None else t.ppf(0.5 + CONFIDENCE / 2, degrees))
        return cls(value, value - quantile * error, value + quantile * error)

    @classmethod
    def of_mean(cls, values: NDArray[np.float64]) -> "Estimate":
        """The mean of independent values (n,), two or more: folds, or trainings from other seeds."""
        error = float(values.std(ddof=1)) / np.sqrt(len(values))
        return cls.around(float(values.mean()), error, len(values) - 1)

    @classmethod
    def of_share(cls, hits: NDArray[np.bool_]) -> "Estimate":
        """A share of independent yes-or-no answers (n,), by the score interval of Wilson (1927)."""
        return cls.of_bounded(float(hits.mean()), trials=len(hits))

    @classmethod
    def of_groups(
        cls, value: float, without: NDArray[np.float64], sizes: NDArray[np.int64] | None = None
    ) -> "Estimate":
        """A score of one set, by the jackknife over groups (Quenouille 1956; Shao & Wu 1989).

        Args:
            value: the score of the whole set.
            without: the score without each of G groups in turn, (G,), G two or more.
            sizes: rows in each group, (G,); None: equal.
        """
        return cls.around(value, jackknife_error(value, without, sizes), len(without) - 1)

    @classmethod
    def of_bounded(cls, value: float, trials: float, degrees: float | None = None) -> "Estimate":
        """A score from 0 to 1 that is known as well as a share of `trials` answers, by the score interval of Wilson.

        The interval stays within [0, 1] and has a width at 0 and 1 too, where the spread that was seen has none.

        Args:
            trials: for a score with the standard error e, value·(1 - value)/e² (Korn & Graubard 1998).
            degrees: of Student's t, where that error is an estimate; None: the normal distribution.
        """
        q = float(norm.ppf(0.5 + CONFIDENCE / 2) if degrees is None else t.ppf(0.5 + CONFIDENCE / 2, degrees))
        centre = (value + q**2 / (2 * trials)) / (1 + q**2 / trials)
        reach = q / (1 + q**2 / trials) * float(np.sqrt(value * (1 - value) / trials + q**2 / (4 * trials**2)))
        return cls(value, max(min(centre - reach, value), 0.0), min(max(centre + reach, value), 1.0))

    def clipped(self, least: float = -np.inf, most: float = np.inf) -> "Estimate":
        """The interval without what the score can't be."""
        return Estimate(self.value, max(self.low, least), min(self.high, most))


def jackknife_error(value: float, without: NDArray[np.float64], sizes: NDArray[np.int64] | None = None) -> float:
    """The standard error of a score of one set, from the score without each of its groups (Busing et al., 1999).

    Arguments as of `Estimate.of_groups`. For equal groups it is √((G − 1)/G · Σ(θ₋g − mean)²).
    """
    groups = len(without)
    # How many groups of that size the set would have.
    times = np.full(groups, float(groups)) if sizes is None else sizes.sum() / sizes
    pseudo = times * value - (times - 1) * without
    corrected = groups * value - ((1 - 1 / times) * without).sum()
    return float(np.sqrt(((pseudo - corrected) ** 2 / (times - 1)).mean()))
