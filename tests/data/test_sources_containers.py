"""Parquet files and WebDataset tars."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rediffuse.data.shards import write_shards
from tests.data.planted import encoded, image_file, opened, parquet_files, pixels, refusal, tar_file

PICTURES = [encoded(pixels(i)) for i in range(4)]


def write(path: Path, metadata: dict[str, Any] | None = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": metadata}})})
    pq.write_table(table, path)
    return path


def test_parquet_reads_plain_bytes_with_texts_captions_and_a_split(tmp_path: Path) -> None:
    file = write(
        tmp_path / "one.parquet",
        png=PICTURES,
        kind=["dog", None, " cat", ""],
        text=["a dog", None, "  ", " nothing"],
        part=["train ", "validation", "Test", None],
    )
    source = opened(
        "parquet", file, columns__image="png", columns__label="kind", columns__caption="text", columns__split="part"
    )
    assert source.classes == ("cat", "dog")
    assert [(row.id, row.content, row.label, row.caption, row.split) for row in source] == [
        ("one.parquet#0", PICTURES[0], 1, "a dog", "train"),
        ("one.parquet#1", PICTURES[1], None, None, "val"),
        ("one.parquet#2", PICTURES[2], 0, None, "test"),
        ("one.parquet#3", PICTURES[3], None, "nothing", None),
    ]


def test_parquet_counts_images_whose_bytes_lie_elsewhere(tmp_path: Path) -> None:
    images = [{"bytes": PICTURES[0], "path": "a.png"}, {"bytes": None, "path": "/b.png"}, None, {"bytes": b""}]
    file = write(tmp_path / "x.parquet", image=images, label=[3, 20, 3, 3])
    source = opened("parquet", file)
    assert source.classes == ("3", "20")
    assert [(row.content, row.label, row.fault) for row in source] == [
        (PICTURES[0], 0, ""),
        (b"", 1, "a path to a file elsewhere, in place of bytes"),
        (b"", 0, "no image"),
        (b"", 0, ""),
    ]


def test_parquet_takes_names_from_the_metadata_and_their_order_from_classes(tmp_path: Path) -> None:
    names = {"label": {"_type": "ClassLabel", "names": ["crane", "ant", "crane"]}}
    write(tmp_path / "x.parquet", names, image=PICTURES, label=[2, 1, -1, 0])
    source = opened("parquet", tmp_path)
    assert source.classes == ("crane (0)", "ant", "crane (2)")
    assert [row.label for row in source] == [2, 1, None, 0]
    ordered = opened("parquet", tmp_path, classes=["ant", "crane (2)", "crane (0)"])
    assert [row.label for row in ordered] == [1, 0, None, 2]
    message = refusal("parquet", tmp_path, classes=["ant", "crane (2)"])
    assert "x.parquet: row 3: the label 'crane (0)' is none of the classes; prepare.classes allows ant" in message


@pytest.mark.parametrize("classes", [None, ["a", "b"]])
def test_parquet_takes_the_number_of_a_withheld_label_for_none(tmp_path: Path, classes: list[str] | None) -> None:
    source = opened("parquet", write(tmp_path / "x.parquet", image=PICTURES, label=[1, -1, 0, -1]), classes=classes)
    assert source.classes == tuple(classes or ("0", "1"))
    assert [row.label for row in source] == [1, None, 0, None]


def test_parquet_takes_the_part_of_the_file_where_the_column_is_empty_and_keeps_the_order(tmp_path: Path) -> None:
    for name, parts in (("test", ["test", None]), ("train", [None, "val"])):
        write(tmp_path / f"{name}.parquet", image=PICTURES[:2], label=[0, 1], part=pa.array(parts, pa.string()))
    source = opened("parquet", tmp_path, columns__split="part")
    assert [row.split for row in source] == ["train", "val", "test", "test"]


@pytest.mark.parametrize(("groups", "most"), [(80, 1 << 20), (1, 7 << 20)])
def test_parquet_holds_little_of_a_file_in_memory(tmp_path: Path, groups: int, most: int) -> None:
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(tmp_path / "x.parquet", pa.schema([("image", pa.binary())])) as writer:
        for _ in range(groups):
            writer.write_table(pa.table({"image": [rng.bytes(1 << 11) for _ in range(5120 // groups)]}))
    source = opened("parquet", tmp_path, columns__label=None)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in source]
    assert len(held) == 5120
    # Of 10 MiB.
    assert max(held) < most


@pytest.mark.parametrize("column", ["label", "text"])
def test_parquet_refuses_a_text_that_is_no_utf8(tmp_path: Path, column: str) -> None:
    broken = pa.Array.from_buffers(pa.string(), 4, pa.array([b"a", b"\xff", b"c", b"d"], pa.binary()).buffers())
    write(tmp_path / "x.parquet", **{"image": PICTURES, "label": ["a"] * 4, "text": ["a"] * 4, column: broken})
    assert "x.parquet is damaged: " in refusal("parquet", tmp_path, columns__caption="text")


def test_parquet_reads_what_prepare_wrote(tmp_path: Path) -> None:
    for i in range(12):
        image_file(tmp_path / "raw" / ("train" if i < 8 else "test") / ("dog" if i % 2 else "cat") / f"{i}.png", i)
    (tmp_path / "raw" / "train" / "cat" / "link.png").symlink_to("nowhere")
    source = opened("folder", tmp_path / "raw")
    write_shards(source, tmp_path / "out", shard_rows=4)
    again = opened("parquet", tmp_path / "out")
    assert again.classes == source.classes
    assert list(again) == list(source)


def test_parquet_and_tars_are_chosen_by_a_glob_and_given_in_the_order_train_val_test(tmp_path: Path) -> None:
    images = np.stack([pixels(i) for i in range(4)])
    parquet_files(tmp_path / "data", images, list("0101"), ["test", "train", "val", "train"], rows=1)
    parquet_files(tmp_path / "other", images, list("0101"), ["extra"] * 4)
    assert "names no part" in refusal("parquet", tmp_path)
    rows = list(opened("parquet", tmp_path, files="data/*.parquet"))
    assert [(row.id, row.split) for row in rows] == [
        ("data/train-00000-of-00002.parquet#0", "train"),
        ("data/train-00001-of-00002.parquet#0", "train"),
        ("data/val-00000-of-00001.parquet#0", "val"),
        ("data/test-00000-of-00001.parquet#0", "test"),
    ]
    assert {row.split for row in opened("parquet", tmp_path, files="**/{train,test}-?????-*")} == {"train", "test"}
    assert {row.split for row in opened("parquet", tmp_path, files="data/{train-*,te?t-*}")} == {"train", "test"}
    assert "matches prepare.files ('*.parquet')" in refusal("parquet", tmp_path, files="*.parquet")


@pytest.mark.parametrize(
    ("columns", "changes", "expected"),
    [
        (
            {"img": PICTURES, "label": [0] * 4},
            {},
            "column 'image' is there not at all; there are 'img', 'label': set p",
        ),
        ({"image": PICTURES}, {}, "set prepare.columns.label (or null, where there is none)"),
        ({"image": ["a.png"] * 4, "label": [0] * 4}, {}, "the column 'image' is string; bytes, or a struct with bytes"),
        ({"image": PICTURES, "label": [[0]] * 4}, {}, "whole numbers or texts are allowed"),
        ({"image": PICTURES, "label": [0, 1, 2, 1]}, {"classes": ["a", "b"]}, "row 2: the label '2' is none of the cl"),
        ({"image": PICTURES, "label": ["x"] * 4}, {"columns__split": "label"}, "row 0: the split 'x' is unknown"),
    ],
)
def test_parquet_names_a_mistake_by_file_and_row(
    tmp_path: Path, columns: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    file = write(tmp_path / "x.parquet", **columns)
    message = refusal("parquet", tmp_path, **changes)
    assert message.startswith(str(file))
    assert expected in message


def test_parquet_names_a_damaged_file(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", image=PICTURES, label=[0] * 4)
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    assert "x.parquet is no Parquet file" in refusal("parquet", tmp_path)
    assert "is missing" in refusal("parquet", tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_tars_give_labels_captions_and_parts_of_their_samples(tmp_path: Path, name: str) -> None:
    tar_file(
        tmp_path / name,
        {
            "x/1.png": PICTURES[0],
            "x/1.CLS": b"10\n",
            "x/1.txt": "ein Hund, groß".encode(),
            "x/1.depth.npy": b"not looked at",
            "2.json": json.dumps({"label": 9, "text": "a cat", "part": "test"}).encode(),
            "2.JPG": PICTURES[1],
            "3.png": PICTURES[2],
            "README": b"no sample",
        },
    )
    source = opened("webdataset", tmp_path, columns__caption="text", columns__split="part")
    assert source.classes == ("9", "10")
    assert [(row.id, row.origin, row.content, row.label, row.caption, row.split) for row in source] == [
        (f"{name}#x/1", f"{name}#x/1.png", PICTURES[0], 1, "ein Hund, groß", None),
        (f"{name}#2", f"{name}#2.JPG", PICTURES[1], 0, "a cat", "test"),
        (f"{name}#3", f"{name}#3.png", PICTURES[2], None, None, None),
    ]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"1.png": b"x", "2.cls": b"0"}, "a.tar: sample 2: no image among its files"),
        ({"1.png": b"x", "1.jpg": b"x"}, "a.tar: sample 1: two images, 1.png and 1.jpg"),
        ({"1.png": b"x", "1.cls": b"\xff"}, "a.tar: sample 1: its .cls is no UTF-8"),
        ({"1.png": b"x", "1.json": b"{"}, "a.tar: sample 1: its .json is no JSON"),
        ({"1.png": b"x", "1.json": b"[]"}, "a.tar: sample 1: its .json is no object"),
        (
            {"1.png": b"x", "1.cls": b"cow"},
            "a.tar: sample 1: the label 'cow' is none of the classes; prepare.classes al",
        ),
    ],
)
def test_tars_name_a_mistake_by_file_and_sample(tmp_path: Path, members: dict[str, bytes], expected: str) -> None:
    tar_file(tmp_path / "a.tar", members)
    classes = ["cat"] if "cow" in expected else None
    assert expected in refusal("webdataset", tmp_path, classes=classes)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
@pytest.mark.parametrize("kept", [0.8, 0.5, 0.3])
@pytest.mark.parametrize("odd", [0, 700])
@pytest.mark.parametrize("classes", [None, ["a"]])
def test_a_tar_that_is_cut_off_is_no_shorter_tar(
    tmp_path: Path, name: str, kept: float, odd: int, classes: list[str] | None
) -> None:
    rng = np.random.default_rng(0)
    file = tar_file(tmp_path / name, {f"{i}.png": rng.bytes(900) for i in range(40)})
    end = int(file.stat().st_size * kept)
    # Between two files of a plain tar, where nothing but the missing mark tells.
    file.write_bytes(file.read_bytes()[: end // 1536 * 1536 + odd if name == "a.tar" else end + odd])
    assert f"{name} is" in refusal("webdataset", tmp_path, classes=classes)


def test_two_tars_in_one_are_no_single_tar(tmp_path: Path) -> None:
    one, two = (tar_file(tmp_path / name, {f"{name}.png": b"x"}).read_bytes() for name in ("a.tar", "b.tar"))
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "c.tar").write_bytes(one + two)
    assert "c.tar goes on after the mark at its end" in refusal("webdataset", tmp_path / "both")


def test_links_in_a_tar_are_counted_and_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo("1.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    assert [(row.content, bool(row.fault)) for row in opened("webdataset", tmp_path / "a.tar")] == [(b"", True)]
