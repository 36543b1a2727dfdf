"""The confusion table is what DVC draws."""

import numpy as np
import pandas as pd

from rediffuse.evaluation.utility.confusion import confusion_table


def test_the_confusion_table_has_a_row_an_image() -> None:
    table = confusion_table(np.array([[2, 1], [0, 3]]), ("cat", "dog"))
    assert list(table) == ["actual", "predicted"]
    assert pd.crosstab(table["actual"], table["predicted"]).to_numpy().tolist() == [[2, 1], [0, 3]]
