"""Numbers as outs hold them, at six significant digits: more than any score or loss is good for."""

from pathlib import Path
from typing import Any

import pandas as pd

from rediffuse import files


def rounded(value: Any) -> Any:
    """`value` with every float in it, however deep in dicts, lists and tuples, at six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Replace `path` by the table as CSV, for `dvc plots`: the same bytes for the same numbers."""
    files.write_bytes(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
