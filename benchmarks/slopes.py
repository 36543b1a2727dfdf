"""How a cost grows: the exponent of a power law, fitted where both are logarithms."""

from collections.abc import Sequence

import numpy as np


def exponent(sizes: Sequence[float], costs: Sequence[float | None]) -> float | None:
    """b of cost ≈ a·size^b by least squares on logarithms; None of fewer than two sizes.

    1 is a straight line through 0, 0 a cost that does not grow. Costs that are missing or not above 0 don't count.
    """
    kept = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if cost is not None and cost > 0]
    if len({size for size, _ in kept}) < 2:
        return None
    x, y = np.log(np.array(kept, np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def last_exponent(sizes: Sequence[float], costs: Sequence[float | None]) -> float | None:
    """The exponent of the two largest sizes alone, where a fixed cost counts least."""
    kept = sorted((size, cost) for size, cost in zip(sizes, costs, strict=True) if cost is not None and cost > 0)
    return exponent([size for size, _ in kept[-2:]], [cost for _, cost in kept[-2:]])
