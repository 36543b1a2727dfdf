"""Samples that don't fit are a user's error."""

from pathlib import Path

import numpy as np
import pytest

from rediffuse.errors import UserError
from rediffuse.evaluation.samples import read_samples


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
        (np.zeros((4, 1, 4, 4), np.uint8), np.zeros(4), "holds float64, not whole numbers"),
        (np.array([{}], object), np.zeros(1, np.int64), "can't be read"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, images, labels, message: str) -> None:
    np.save(tmp_path / "images.npy", images)
    if labels is not None:
        np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(UserError, match=message):
        read_samples(tmp_path / "images.npy", tmp_path / "labels.npy", (1, 4, 4), least=4)


@pytest.mark.parametrize(
    "content", [b"", b"no array", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1'", b"PK\x03\x04 an archive"]
)
def test_a_file_that_is_no_array_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.npy").write_bytes(content)
    np.save(tmp_path / "labels.npy", np.zeros(4, np.int64))
    with pytest.raises(UserError, match=r"images\.npy can't be read: .*; run the stage sample first$"):
        read_samples(tmp_path / "images.npy", tmp_path / "labels.npy", (1, 4, 4), least=4)
