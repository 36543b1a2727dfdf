"""An order of a set's rows that is the set's own, so that what is drawn of it does not depend on how it was stored."""

import numpy as np
from numpy.typing import NDArray


def own_order(rows: NDArray[np.generic]) -> NDArray[np.int64]:
    """The positions of the rows (N, ...) in rising order of their bytes, the most significant first; equal rows tie.

    The first numbers decide, so that rows which differ by rounding still lie about where they did.
    """
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
    # Numbers compare as their bytes do, but for the sign, which only has to be the same each time.
    large = flat.astype(flat.dtype.newbyteorder(">"))
    return np.argsort(large.view(np.dtype((np.void, large.itemsize * large.shape[1])))[:, 0], kind="stable")
