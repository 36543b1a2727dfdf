"""Groups of what is linked by pairs."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def components(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The group of each of `count` members, by union-find over pairs: int64, the least member of its group."""
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    _, label = connected_components(links, directed=False)
    least = np.full(count, count, np.int64)
    np.minimum.at(least, label, np.arange(count))
    return least[label]
