"""How well one number an image tells two groups of images apart: AUC, and the hits at few false alarms.

θ = P(a > b) + ½·P(a = b) for a of one group and b of the other is the area under the ROC curve, and U = m·n·θ the
statistic of Mann and Whitney (1947).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.intervals import CONFIDENCE, Estimate

Vector = NDArray[np.float64]
Side = Literal["left", "right"]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Separation:
    """Two groups of numbers, neither of them empty: `first` (m,) and `second` (n,)."""

    first: Vector
    second: Vector

    @cached_property
    def auc(self) -> Estimate:
        """θ, with an interval from the variance of DeLong et al. (1988).

        The variance makes θ as uncertain as a share of so many independent answers, whose score interval it gets
        (Wilson, 1927): ± 1.96 standard errors would leave [0, 1], or have no width where the groups don't overlap.
        There as many answers are assumed as the smaller group has images.
        """
        above, below = _twice_won(self.first, self.second), _twice_won(self.second, self.first)
        pairs = len(self.first) * len(self.second)
        # Of whole numbers: the same sum in any order.
        theta = int(above.sum()) / (2 * pairs)
        variance = sum(
            float((wins / (2 * len(others))).var(ddof=1)) / len(wins)
            for wins, others in ((above, self.second), (below, self.first))
            if len(wins) > 1
        )
        smaller = min(len(self.first), len(self.second))
        answers = theta * (1 - theta) / variance if variance > 0 else smaller
        # Whatever its variance seems to be, what so few images say is not known better.
        return Estimate.of_bounded(theta, float(np.clip(answers, 1, len(self.first) + len(self.second))))

    @property
    def unit(self) -> float:
        """Standard deviations of the null hypothesis in one θ: 1 / √((m + n + 1) / (12mn)), ties corrected for.

        (θ − ½) times it is Z_U = (U − mn/2) / √(mn(m + n + 1) / 12). 0 where all numbers are equal.
        """
        m, n = len(self.first), len(self.second)
        _, ties = np.unique(np.concatenate([self.first, self.second]), return_counts=True)
        ties = ties.astype(np.float64)
        total = m + n
        corrected = total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1))
        return float(np.sqrt(12 * m * n / corrected)) if corrected > 1e-9 * total else 0.0

    @property
    def weight(self) -> float:
        """√(mn/(m + n + 1)): of its Z_U among those of other strata (van Elteren, 1960)."""
        m, n = len(self.first), len(self.second)
        return float(np.sqrt(m * n / (m + n + 1)))

    def hits(self, false_alarms: float, draw: np.random.Generator) -> Estimate:
        """The share of `first` above a threshold that at most this share of `second` is above.

        Its interval is the percentile bootstrap over both groups, or that of a share where it is wider.

        Args:
            false_alarms: 0 to below 1.
            draw: of the resamples.
        """
        falling = np.sort(self.second)[::-1]
        count = len(falling)
        # A share of n that is a whole number but for rounding is that number.
        allowed = int(np.floor(false_alarms * count + 1e-9))
        # What is so many-th in a resample of n has a place distributed as the same order statistic of uniform numbers.
        places = np.minimum(count * draw.beta(allowed + 1, count - allowed, _RESAMPLES), count - 1).astype(np.int64)
        shares = self._resampled(falling[places], "right", draw)
        return self._wider(falling[allowed], "right", shares, shares)

    def reached(self, share: float, draw: np.random.Generator, most: float) -> Estimate:
        """The share of `first` at or above the highest threshold that at least this share of `second` is at or above.

        Of all images of the second kind, so many times that of n are above the threshold as a binomial number says:
        so between which of them it lies. The interval is between the shares at these, resampled, or that of a share
        where it is wider. Few of `second` don't say how far above them all the threshold may lie (fewer than 368 for
        a share of 0.01); then its low end is that of what is at `most`.

        Args:
            share: above 0.
            draw: of the resamples.
            most: what no number is above.
        """
        count = len(self.second)
        thresholds = np.concatenate([[most], np.sort(self.second)[::-1], [-np.inf]])
        above = draw.binomial(count, share, _RESAMPLES)
        low, high = (self._resampled(thresholds[places], "left", draw) for places in (above, above + 1))
        return self._wider(thresholds[max(int(np.ceil(share * count - 1e-9)), 1)], "left", low, high)

    def _above(self, thresholds: Vector, equal: Side) -> Vector:
        """The share of `first` above each threshold; with left also what is equal to it."""
        found: Vector = (len(self.first) - np.searchsorted(np.sort(self.first), thresholds, equal)) / len(self.first)
        return found

    def _resampled(self, thresholds: Vector, equal: Side, draw: np.random.Generator) -> Vector:
        """The share of resamples of `first` above each of the thresholds."""
        shares: Vector = draw.binomial(len(self.first), self._above(thresholds, equal)) / len(self.first)
        return shares

    def _wider(self, threshold: float, equal: Side, low: Vector, high: Vector) -> Estimate:
        """The share of `first` above a threshold, between an end of each of these shares, or Wilson's."""
        fixed = Estimate.of_bounded(float(self._above(np.array([threshold]), equal)[0]), len(self.first))
        ends = np.quantile(low, 0.5 - CONFIDENCE / 2), np.quantile(high, 0.5 + CONFIDENCE / 2)
        return Estimate(fixed.value, min(fixed.low, float(ends[0])), max(fixed.high, float(ends[1])))


def _twice_won(of: Vector, against: Vector) -> NDArray[np.int64]:
    """For each of `of` twice the number of those below it, and once of those equal to it."""
    ordered = np.sort(against)
    return np.searchsorted(ordered, of, side="left") + np.searchsorted(ordered, of, side="right")
