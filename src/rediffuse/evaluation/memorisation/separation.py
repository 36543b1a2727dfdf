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
        # A share of n that is a whole number but for rounding is that number.
        allowed = int(np.floor(false_alarms * len(self.second) + 1e-9))
        return self._beyond(np.sort(self.second)[::-1], allowed, "right", draw)

    def reached(self, share: float, draw: np.random.Generator) -> Estimate:
        """The share of `first` at or above the highest threshold that at least this share of `second` is at or above.

        Interval and arguments as of `hits`; `share` above 0.
        """
        least = max(int(np.ceil(share * len(self.second) - 1e-9)), 1)
        return self._beyond(np.sort(self.second)[::-1], least - 1, "left", draw)

    def _beyond(
        self, falling: Vector, place: int, side: Literal["left", "right"], draw: np.random.Generator
    ) -> Estimate:
        """The share of `first` above that place of the thresholds; with side left also what is equal."""
        rising, count = np.sort(self.first), len(falling)

        def share(thresholds: Vector) -> Vector:
            beyond: Vector = 1 - np.searchsorted(rising, thresholds, side=side) / len(rising)
            return beyond

        at_threshold = share(falling[place : place + 1])[0]
        # What is so many-th in a resample of n has a place distributed as the same order statistic of uniform numbers.
        places = np.minimum(count * draw.beta(place + 1, count - place, _RESAMPLES), count - 1).astype(np.int64)
        resampled = draw.binomial(len(rising), share(falling[places])) / len(rising)
        low, high = np.quantile(resampled, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
        fixed = Estimate.of_bounded(float(at_threshold), len(rising))
        return Estimate(fixed.value, min(fixed.low, float(low)), max(fixed.high, float(high)))


def _twice_won(of: Vector, against: Vector) -> NDArray[np.int64]:
    """For each of `of` twice the number of those below it, and once of those equal to it."""
    ordered = np.sort(against)
    return np.searchsorted(ordered, of, side="left") + np.searchsorted(ordered, of, side="right")
