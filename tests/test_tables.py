"""Six significant digits, in tables and in nested metrics."""

from pathlib import Path

import pandas as pd

from rediffuse.tables import rounded, write_table


def test_tables_keep_six_digits(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame({"step": [1], "loss": [1 / 3], "name": ["a"]}))
    assert (tmp_path / "t.csv").read_bytes() == b"step,loss,name\n1,0.333333,a\n"


def test_numbers_are_rounded_however_deep() -> None:
    assert rounded({"a": [1 / 3, {"b": (123456789.0, 7)}], "c": "x"}) == {
        "a": [0.333333, {"b": [123457000.0, 7]}],
        "c": "x",
    }
