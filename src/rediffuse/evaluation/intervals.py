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
        return cls.of_proportion(float(hits.mean()), len(hits))

    @classmethod
    def of_proportion(cls, share: float, n: float) -> "Estimate":
        """A share that is as uncertain as that of `n` independent answers, by the score interval of Wilson (1927)."""
        z = float(norm.ppf(0.5 + CONFIDENCE / 2))
        centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
        return cls(share, min(centre - reach, share), max(centre + reach, share))

    @classmethod
    def of_groups(cls, value: float, without: NDArray[np.float64]) -> "Estimate":
        """A score of one set, by the jackknife over groups (Quenouille 1956; Shao & Wu 1989).

        Args:
            value: the score of the whole set.
            without: the score without each of G groups of equal size in turn, (G,), G two or more.
        """
        groups = len(without)
        error = float(np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum()))
        return cls.around(value, error, groups - 1)
