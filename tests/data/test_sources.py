import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from rediffuse.data.sources import SOURCES
from rediffuse.errors import UserError
from tests.data.planted import encoded, idx_bytes, idx_pair, image_file, pixels

IMAGES = np.stack([pixels(i, 5, 4, channels=1) for i in range(6)])


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def refusal(source: str, path: Path) -> str:
    """The message with which a source refuses a folder."""
    with pytest.raises(UserError) as caught:
        list(SOURCES[source](path))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_digits_gives_all_of_scikit_learns_images_on_the_full_range(tmp_path: Path) -> None:
    source = SOURCES["digits"](tmp_path / "not looked at")
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
    source = SOURCES["idx"](tmp_path)
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
    plain = list(SOURCES["idx"](tmp_path / "plain"))
    assert list(SOURCES["idx"](tmp_path / "zipped")) == plain
    assert [row.content for row in SOURCES["idx"](dotted)] == [row.content for row in plain]
    assert {row.split for row in plain} == {None}


def test_idx_names_classes_by_the_labels_that_occur(tmp_path: Path) -> None:
    idx_pair(tmp_path, "emnist-letters-train-", IMAGES, [1, 2, 9, 1, 2, 9])
    source = SOURCES["idx"](tmp_path)
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
    ],
)
def test_idx_refuses_a_broken_file(tmp_path: Path, content: bytes, expected: str) -> None:
    idx_pair(tmp_path, "train-", IMAGES, [0] * 6)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    message = refusal("idx", tmp_path)
    assert "train-images-idx3-ubyte" in message
    assert expected in message


def test_idx_refuses_a_gzip_file_that_is_cut_off(tmp_path: Path) -> None:
    idx_pair(tmp_path, "train-", IMAGES, [0] * 6, zipped=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-12])
    assert "train-images-idx3-ubyte.gz can't be read" in refusal("idx", tmp_path)


def test_folder_sorts_classes_and_files_and_skips_hidden_ones(tmp_path: Path) -> None:
    for seed, name in enumerate(("dog/b.png", "cat/z.png", "cat/a.png", "cat/.thumb.png", ".git/x.png", "cat/ü.png")):
        image_file(tmp_path / name, seed)
    (tmp_path / "README.md").write_text("not an image, and not looked at")
    (tmp_path / "dog" / "notes.txt").write_text("in a class folder: it makes a row, which clean will reject")
    source = SOURCES["folder"](tmp_path)
    assert source.classes == ("cat", "dog")
    assert [(row.id, row.label, row.split) for row in source] == [
        ("cat/a.png", 0, None),
        ("cat/z.png", 0, None),
        ("cat/ü.png", 0, None),
        ("dog/b.png", 1, None),
        ("dog/notes.txt", 1, None),
    ]
    assert next(iter(source)).content == (tmp_path / "cat" / "a.png").read_bytes()


def test_folder_takes_train_and_test_as_the_sources_own_split(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/cat/a.png", "train/dog/a.png", "test/cat/a.png", "test/dog/a.png")):
        image_file(tmp_path / name, seed)
    rows = list(SOURCES["folder"](tmp_path))
    assert [(row.split, row.id) for row in rows] == [
        ("train", "train/cat/a.png"),
        ("train", "train/dog/a.png"),
        ("test", "test/cat/a.png"),
        ("test", "test/dog/a.png"),
    ]
    (tmp_path / "test" / "bird").mkdir()
    assert "the class bird is in test/ only" in refusal("folder", tmp_path)


def test_folder_takes_classes_that_are_called_train_and_test(tmp_path: Path) -> None:
    image_file(tmp_path / "train" / "a.png", 0)
    image_file(tmp_path / "test" / "a.png", 1)
    source = SOURCES["folder"](tmp_path)
    assert source.classes == ("test", "train")
    assert [row.split for row in source] == [None, None]


def test_folder_refuses_what_has_no_class(tmp_path: Path) -> None:
    assert "is missing" in refusal("folder", tmp_path / "nowhere")
    assert "no class folders" in refusal("folder", tmp_path)
    for part in ("train", "val", "test"):
        image_file(tmp_path / "parts" / part / "cat" / "a.png", 0)
    assert f"{Path('test', 'cat')} is a folder, in a class folder" in refusal("folder", tmp_path / "parts")
    image_file(tmp_path / "loose" / "cat" / "a.png", 0)
    image_file(tmp_path / "loose" / "b.png", 1)
    assert "b.png lies beside the class folders" in refusal("folder", tmp_path / "loose")


def test_folder_refuses_pipes_and_dead_links_instead_of_waiting_or_shrinking(tmp_path: Path) -> None:
    image_file(tmp_path / "cat" / "a.png", 0)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    assert "pipe.png is no regular file" in refusal("folder", tmp_path)
    (tmp_path / "cat" / "pipe.png").unlink()
    (tmp_path / "cat" / "link.png").symlink_to(tmp_path / "gone.png")
    assert "link.png is no regular file" in refusal("folder", tmp_path)


def test_folder_escapes_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/\xff.png")).write_bytes(encoded(pixels(0)))
    assert [row.id for row in SOURCES["folder"](tmp_path)] == ["cat/\\xff.png"]
