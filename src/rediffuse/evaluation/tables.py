"""Tables that `dvc plots` draws, as CSV: the same bytes for the same numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rediffuse import files


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Replace `path` by the table, numbers at six significant digits."""
    files.write_bytes(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())


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
