"""Which class is taken for which, as a table that `dvc plots` draws."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def confusion_table(confusion: NDArray[np.int64], names: Sequence[str]) -> pd.DataFrame:
    """Counts (actual, predicted) as a row an image, columns actual and predicted, as DVC's confusion plot reads it."""
    actual, predicted = np.indices(confusion.shape)
    times = confusion.ravel()
    return pd.DataFrame(
        {
            "actual": np.asarray(names)[actual.ravel().repeat(times)],
            "predicted": np.asarray(names)[predicted.ravel().repeat(times)],
        }
    )
