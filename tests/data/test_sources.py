"""Digits and IDX files, and what all sources share: names, classes, and the same rows for the same data."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from rediffuse.data.png import encode_png
from rediffuse.data.sources.names import escaped, parts_of
from rediffuse.errors import UserError
from tests.data.planted import (
    decoded,
    encoded,
    idx_bytes,
    idx_pair,
    opened,
    parquet_files,
    pixels,
    refusal,
    table_folder,
    tar_files,
)

IMAGES = np.stack([pixels(i, 5, 4, channels=1) for i in range(6)])


def test_the_same_data_in_any_form_gives_the_same_images_labels_and_parts_in_the_same_order(tmp_path: Path) -> None:
    images = np.stack([pixels(i, 28, 28, channels=1) for i in range(300)])
    labels = [str(i * 7 % 10) for i in range(300)]
    parts = ["train"] * 240 + ["test"] * 60
    idx_pair(tmp_path / "idx", "train-", images[:240], [int(label) for label in labels[:240]])
    idx_pair(tmp_path / "idx", "t10k-", images[240:], [int(label) for label in labels[240:]], zipped=True)
    table_folder(tmp_path / "folder", images, labels, parts)
    parquet_files(tmp_path / "parquet", images, labels, parts)
    tar_files(tmp_path / "webdataset", images, labels, parts)
    forms = {
        "idx": opened("idx", tmp_path / "idx"),
        "folder": opened("folder", tmp_path / "folder", folder__labels="table", columns__split="split"),
        "parquet": opened("parquet", tmp_path / "parquet"),
        "webdataset": opened("webdataset", tmp_path / "webdataset"),
    }
    expected = [(array.tobytes(), label, part) for array, label, part in zip(images, labels, parts, strict=True)]
    for source in forms.values():
        rows = list(source)
        found = [(decoded(row.content).tobytes(), source.classes[row.label or 0], row.split) for row in rows]
        assert found == expected, source.name
        assert source.classes == tuple("0123456789")
        assert None not in [row.label for row in rows]
        assert len({row.id for row in rows}) == 300
    # A folder a class has an order of its own: by class.
    for i, (array, label, part) in enumerate(zip(images, labels, parts, strict=True)):
        file = tmp_path / "classes" / part / label / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(array))
    source = opened("folder", tmp_path / "classes")
    found = [(decoded(row.content).tobytes(), source.classes[row.label or 0], row.split) for row in source]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(("source", "first"), [("digits", 0), ("idx", 3)])
def test_classes_name_the_numbers_by_their_position(tmp_path: Path, source: str, first: int) -> None:
    idx_pair(tmp_path, "train-", IMAGES, [3, 0, 1, 2, 1, 0])
    names = [f"class {i}" for i in range(10)]
    given = opened(source, tmp_path, classes=names)
    assert given.classes == tuple(names)
    assert next(iter(given)).label == first
    assert "none of the classes; prepare.classes allows a, b" in refusal(source, tmp_path, classes=["a", "b"])


def test_digits_knows_where_its_images_come_from(tmp_path: Path) -> None:
    about = opened("digits", tmp_path).about
    assert "Optical Recognition of Handwritten Digits" in about.origin
    assert about.licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain name.png", "plain name.png"),
        ("ü猫.png", "ü猫.png"),
        ("a\nb\t.png", "a\\nb\\t.png"),
        ("a\\nb.png", "a\\\\nb.png"),
        ("\udcff.png", "\\xff.png"),
        ("\xff.png", "ÿ.png"),
        ("\x85\u202e.png", "\\u0085\\u202e.png"),
    ],
)
def test_names_are_escaped_to_one_printable_line(name: str, expected: str) -> None:
    assert escaped(name) == expected


def test_the_part_of_a_file_is_in_its_name_else_in_its_folders() -> None:
    names = ["data/train-00000-of-00002.parquet", "test/0.parquet", "my_validation.parquet", "train/dev-1.parquet"]
    assert parts_of(names, "raw") == ["train", "test", "val", "val"]
    assert parts_of(["Train-0.parquet", "TEST/0.parquet"], "raw") == ["train", "test"]
    assert parts_of(["train-0.tar", "train-1.tar"], "raw") == [None, None]
    assert parts_of(["a.tar", "constrained.tar"], "raw") == [None, None]
    with pytest.raises(UserError, match=r"^raw: extra\.tar names no part .+, but train\.tar does"):
        parts_of(["train.tar", "test.tar", "extra.tar"], "raw")


@pytest.mark.parametrize("size", [(1, 1), (5, 4), (28, 28), (147, 148), (148, 147, 3), (300, 300)])
def test_png_gives_the_array_back_small_or_large(size: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    assert np.array_equal(decoded(encode_png(array)), array)


def test_idx_reads_more_images_than_it_holds_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rediffuse.data.sources.idx._CHUNK", 50)
    idx_pair(tmp_path, "train-", IMAGES, [0] * 6)
    assert np.array_equal(np.stack([decoded(row.content) for row in opened("idx", tmp_path)]), IMAGES)


def test_digits_gives_all_of_scikit_learns_images_on_the_full_range(tmp_path: Path) -> None:
    source = opened("digits", tmp_path / "not looked at")
    rows, bunch = list(source), load_digits()
    assert source.classes == tuple("0123456789")
    assert [row.label for row in rows] == bunch.target.tolist()
    assert len({row.id for row in rows}) == 1797
    for row, levels in zip(rows[:50], bunch.images, strict=False):
        assert decoded(row.content).tolist() == [[round(level * 255 / 16) for level in line] for line in levels]
    assert max(decoded(row.content).max() for row in rows) == 255


def test_idx_gives_both_pairs_with_pixels_labels_and_their_given_split(tmp_path: Path) -> None:
    idx_pair(tmp_path, "train-", IMAGES[:4], [1, 0, 2, 1])
    idx_pair(tmp_path, "t10k-", IMAGES[4:], [2, 0])
    source = opened("idx", tmp_path)
    rows = list(source)
    assert source.classes == ("0", "1", "2")
    assert [row.split for row in rows] == ["train"] * 4 + ["test"] * 2
    assert [row.label for row in rows] == [1, 0, 2, 1, 2, 0]
    assert np.array_equal(np.stack([decoded(row.content) for row in rows]), IMAGES)
    assert rows[5].origin == "t10k-images-idx3-ubyte#1"


def test_idx_gives_the_same_rows_gzipped_or_not_and_by_either_name(tmp_path: Path) -> None:
    idx_pair(tmp_path / "plain", "train-", IMAGES, [0, 1, 0, 1, 0, 1])
    idx_pair(tmp_path / "zipped", "train-", IMAGES, [0, 1, 0, 1, 0, 1], zipped=True)
    dotted = tmp_path / "dotted"
    dotted.mkdir()
    (dotted / "train-images.idx3-ubyte").write_bytes(idx_bytes(IMAGES))
    (dotted / "train-labels.idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 0, 1, 0, 1])))
    plain = list(opened("idx", tmp_path / "plain"))
    assert list(opened("idx", tmp_path / "zipped")) == plain
    assert [row.content for row in opened("idx", dotted)] == [row.content for row in plain]
    assert {row.split for row in plain} == {None}


def test_idx_names_classes_by_the_labels_that_occur(tmp_path: Path) -> None:
    idx_pair(tmp_path, "emnist-letters-train-", IMAGES, [1, 2, 9, 1, 2, 9])
    source = opened("idx", tmp_path)
    assert source.classes == ("1", "2", "9")
    assert [row.label for row in source] == [0, 1, 2, 0, 1, 2]


def test_idx_refuses_what_is_missing(tmp_path: Path) -> None:
    assert "prepare.path: the folder" in refusal("idx", tmp_path / "nowhere")
    assert "no training pair" in refusal("idx", tmp_path)
    idx_pair(tmp_path, "t10k-", IMAGES, [0] * 6)
    assert "no training pair" in refusal("idx", tmp_path)
    idx_pair(tmp_path, "train-", IMAGES, [0] * 6)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert "train-images-idx3-ubyte has no file of labels" in refusal("idx", tmp_path)


def test_idx_refuses_pairs_that_do_not_match(tmp_path: Path) -> None:
    idx_pair(tmp_path / "lengths", "train-", IMAGES, [0, 1])
    message = refusal("idx", tmp_path / "lengths")
    assert "holds 6 images" in message
    assert "2 labels" in message
    idx_pair(tmp_path / "labels", "train-", IMAGES[:2], [0, 1])
    idx_pair(tmp_path / "labels", "t10k-", IMAGES[2:4], [0, 7])
    assert "label 7, which no training image has; allowed are 0, 1" in refusal("idx", tmp_path / "labels")
    idx_pair(tmp_path / "two", "a-train-", IMAGES, [0] * 6)
    idx_pair(tmp_path / "two", "b-train-", IMAGES, [0] * 6)
    assert "two train pairs" in refusal("idx", tmp_path / "two")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "magic number 0"),
        (b"PK\x03\x04 a zip archive", "begins with 2051"),
        (idx_bytes(IMAGES[0]), "begins with 2051"),
        (idx_bytes(IMAGES)[:-1], "holds 119 values, but its header says 6×5×4 = 120"),
        (idx_bytes(IMAGES) + b"x", "holds 121 values"),
        (idx_bytes(IMAGES[:, :0]), "0×4 pixels"),
        # The dimensions as a little-endian machine writes them.
        (b"\0\0\x08\x03" + np.array([6, 5, 4], "<u4").tobytes() + bytes(120), "holds 120 values, but its header says"),
    ],
)
def test_idx_refuses_a_broken_file(tmp_path: Path, content: bytes, expected: str) -> None:
    idx_pair(tmp_path, "train-", IMAGES, [0] * 6)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    message = refusal("idx", tmp_path)
    assert "train-images-idx3-ubyte" in message
    assert expected in message


def test_idx_refuses_images_in_a_gzip_file_that_no_memory_holds(tmp_path: Path) -> None:
    idx_pair(tmp_path, "train-", IMAGES, [0] * 6, zipped=True)
    header = b"\0\0\x08\x03" + np.array([6, 5, 4], "<u4").tobytes()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(120)))
    message = refusal("idx", tmp_path)
    assert "train-images-idx3-ubyte.gz: its header says images of 83886080×67108864 pixels; 1 GiB is allowed" in message


def test_idx_refuses_a_gzip_file_that_is_cut_off(tmp_path: Path) -> None:
    idx_pair(tmp_path, "train-", IMAGES, [0] * 6, zipped=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-12])
    assert "train-images-idx3-ubyte.gz can't be read" in refusal("idx", tmp_path)
