"""Samples that don't fit are a user's error; tables are what DVC draws."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rediffuse.errors import UserError
from rediffuse.evaluation.rounding import rounded
from rediffuse.evaluation.samples import read_samples
from rediffuse.evaluation.tables import confusion_table, write_table


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    images, labels = np.arange(5 * 16, dtype=np.uint8).reshape(5, 1, 4, 4), np.arange(5)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    samples = read_samples(tmp_path / "images.npy", tmp_path / "labels.npy", (1, 4, 4), least=5)
    assert np.array_equal(samples.images, images)
    assert np.array_equal(samples.labels, labels)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((5, 1, 4, 4), np.float32), np.zeros(5, np.int64), "float32"),
        (np.zeros((5, 3, 4, 4), np.uint8), np.zeros(5, np.int64), r"the real images are uint8 \(1, 4, 4\)"),
        (np.zeros((5, 1, 4, 4), np.uint8), np.zeros(4, np.int64), "holds 5 images"),
        (np.zeros((3, 1, 4, 4), np.uint8), np.zeros(3, np.int64), "holds 3 images.*needs 4"),
        (np.zeros((3, 1, 4, 4), np.uint8), None, "can't be read"),
        (np.array([{}], object), np.zeros(1, np.int64), "can't be read"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, images, labels, message: str) -> None:
    np.save(tmp_path / "images.npy", images)
    if labels is not None:
        np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(UserError, match=message):
        read_samples(tmp_path / "images.npy", tmp_path / "labels.npy", (1, 4, 4), least=4)


def test_the_confusion_table_has_a_row_an_image(tmp_path: Path) -> None:
    table = confusion_table(np.array([[2, 1], [0, 3]]), ("cat", "dog"))
    assert pd.crosstab(table["actual"], table["predicted"]).to_numpy().tolist() == [[2, 1], [0, 3]]
    write_table(tmp_path / "confusion.csv", table)
    assert (tmp_path / "confusion.csv").read_bytes().startswith(b"actual,predicted\ncat,cat\ncat,cat\ncat,dog\n")


def test_tables_keep_six_digits(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame({"step": [1], "loss": [1 / 3]}))
    assert (tmp_path / "t.csv").read_bytes() == b"step,loss\n1,0.333333\n"


def test_numbers_are_rounded_however_deep() -> None:
    assert rounded({"a": [1 / 3, {"b": (123456789.0, 7)}], "c": "x"}) == {
        "a": [0.333333, {"b": [123457000.0, 7]}],
        "c": "x",
    }
