"""A folder with a table of labels and captions; each mistake in it is named by file and line."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.planted import image_file, opened, refusal

COLUMNS = {"folder__labels": "table", "columns__caption": "text", "columns__split": "split"}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.png", "deep/c.png", "deep/Ünï d.png")):
        image_file(tmp_path / "raw" / name, seed)
    return tmp_path / "raw"


def rows(raw: Path, **changes: Any) -> tuple[tuple[str, ...], list[tuple[str, str | None, str | None, str | None]]]:
    source = opened("folder", raw, **{**COLUMNS, **changes})
    return source.classes, [
        (row.id, None if row.label is None else source.classes[row.label], row.caption, row.split) for row in source
    ]


RECORDS = [
    {"file_name": "deep/../b.png", "label": "10", "text": 'two\nlines, "quoted"', "split": "test"},
    {"file_name": "deep/Ünï d.png", "label": "9", "text": "", "split": "train"},
    {"file_name": "./a.png", "label": "", "text": "no label", "split": "train"},
]
EXPECTED = (
    ("9", "10"),
    [
        ("a.png", None, "no label", "train"),
        ("deep/Ünï d.png", "9", None, "train"),
        ("b.png", "10", 'two\nlines, "quoted"', "test"),
        ("deep/c.png", None, None, None),
    ],
)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_with_any_line_ends_and_marks(raw: Path, mark: bytes, end: str) -> None:
    text = pd.DataFrame(RECORDS).to_csv(index=False, lineterminator=end)
    (raw / "metadata.csv").write_bytes(mark + f"{text}{end}{end}".encode())
    assert rows(raw) == EXPECTED


def test_json_lines_and_parquet_say_the_same_as_csv(raw: Path) -> None:
    table = [{**record, "label": int(record["label"]) if record["label"] else None} for record in RECORDS]
    (raw / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, table)).encode() + b"\r\n\r\n")
    assert rows(raw, folder__table="t.jsonl") == EXPECTED
    pd.DataFrame(table).astype({"label": "Int64"}).to_parquet(raw / "t.parquet")
    assert rows(raw, folder__table="t.parquet") == EXPECTED


def test_files_are_named_from_the_tables_folder(raw: Path) -> None:
    (raw / "tables").mkdir()
    (raw / "tables" / "t.csv").write_text("file_name,label\n../a.png,cat\n../deep/c.png,dog\n")
    classes, found = rows(raw, folder__table="tables/t.csv", columns__caption=None, columns__split=None)
    assert classes == ("cat", "dog")
    assert [row[:2] for row in found] == [
        ("a.png", "cat"),
        ("b.png", None),
        ("deep/c.png", "dog"),
        ("deep/Ünï d.png", None),
    ]


def test_spaces_are_no_caption_and_no_part_of_a_label_or_a_part(raw: Path) -> None:
    (raw / "metadata.csv").write_text("file_name,label,text,split\na.png, cat ,   ,train \nb.png,cat, a cat , Test\n")
    assert rows(raw)[1][:2] == [("a.png", "cat", None, "train"), ("b.png", "cat", "a cat", "test")]


def test_a_text_of_a_parquet_table_that_is_no_utf8_is_refused(raw: Path) -> None:
    names = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff.png"], pa.binary()).buffers())
    pq.write_table(pa.table({"file_name": names, "label": ["cat"]}), raw / "t.parquet")
    assert "t.parquet is no Parquet file that can be read" in refusal(
        "folder", raw, folder__labels="table", folder__table="t.parquet"
    )


def test_classes_give_the_order_and_names_to_numbers(raw: Path) -> None:
    (raw / "metadata.csv").write_text("file_name,label,text,split\na.png,dog,,\nb.png,0,,\n")
    source = opened("folder", raw, **COLUMNS, classes=["cat", "dog"])
    assert source.classes == ("cat", "dog")
    assert [row.label for row in source] == [1, 0, None, None]


HEADER = "file_name,label,text,split\n"


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        ("file,label,text,split\n", 1, "column 'file_name' is there not at all; there are 'file', 'label', 'text', 's"),
        ("file_name,label,label,text,split\n", 1, "column 'label' is there twice"),
        ("file_name;label;text;split\n", 1, "there are 'file_name;label;text;split': set prepare.columns.file"),
        (
            HEADER + "a.png,cat,,\nb.png,bird,,\n",
            3,
            "the label 'bird' is none of the classes; prepare.classes allows c",
        ),
        (HEADER + 'a.png,cat,"1\n2\n3",\nx.png,dog,,\n', 5, "the file x.png is not below"),
        (HEADER + "A.PNG,cat,,\n", 2, "did you mean a.png?"),
        (HEADER + "deep\\c.png,cat,,\n", 2, "did you mean deep/c.png?"),
        (HEADER + "a.png,cat,,\n\n./a.png,cat,,\n", 4, "./a.png is named again, first on line 2"),
        (HEADER + "../outside.png,cat,,\n", 2, "../outside.png leads out of"),
        (HEADER + "/etc/passwd,cat,,\n", 2, "/etc/passwd leads out of"),
        (HEADER + "deep,cat,,\n", 2, "deep is a folder"),
        (HEADER + ".hidden/a.png,cat,,\n", 2, "is hidden"),
        (HEADER + f"a.png,cat,,\n{'x' * 300}.png,cat,,\n", 3, "x.png is not below"),
        (HEADER + ",cat,,\n", 2, "file_name is empty"),
        (HEADER + "a.png,cat,,later\n", 2, "the split 'later' is unknown; allowed are train, val, test"),
        (HEADER + "a.png,cat,,\nb.png,cat\n", 3, "2 fields, but the first line names 4"),
        (HEADER + 'a.png,cat,,\nb.png,"cat,,\n', 3, "no CSV from here"),
        (HEADER + "a.png,cat,\udcff,\n", 2, "byte 11 is no UTF-8"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(raw: Path, content: str, line: int, expected: str) -> None:
    (raw / "metadata.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    message = refusal("folder", raw, **COLUMNS, classes=["cat", "dog"])
    assert message.startswith(f"{raw / 'metadata.csv'}:{line}: ")
    assert expected in message


@pytest.mark.parametrize(
    ("content", "where", "expected"),
    [
        ('{"file_name": "a.png"}\n{"file_name": \n', ":2", "no JSON"),
        ('{"file_name": "a.png", "label": 1.5}\n', ":1", "label is 1.5; a text, a whole number or nothing is allowed"),
        ('{"file_name": "a.png", "label": "\\ud800"}\n', ":1", "no Unicode text"),
        ('["a.png"]\n', ":1", "a JSON object is expected, not list"),
        ('{"file_name": "a.png"}\n{"file": "b.png"}\n', ":2", "the column 'file_name' is there not at all"),
        ('{"file_name": "a.png", "label": 1, "label": 2}\n', ":1", "the key 'label' is there twice; keep one"),
        ('{"file_name": ""}\n', ":1", "file_name is empty"),
        ('{"file_name": "a.png"}\n', "", "the column 'label' is there not at all"),
    ],
)
def test_a_mistake_in_json_lines_is_named_by_line(raw: Path, content: str, where: str, expected: str) -> None:
    (raw / "t.jsonl").write_text(content)
    message = refusal("folder", raw, folder__labels="table", folder__table="t.jsonl")
    assert message.startswith(f"{raw / 't.jsonl'}{where}: ")
    assert expected in message


def test_a_table_that_is_none_is_refused(raw: Path) -> None:
    assert "t.csv can't be read: No such file" in refusal("folder", raw, folder__labels="table", folder__table="t.csv")
    (raw / "t.xlsx").write_bytes(b"PK")
    assert "has to end in .csv, .jsonl, .parquet" in refusal(
        "folder", raw, folder__labels="table", folder__table="t.xlsx"
    )
    (raw / "t.parquet").write_bytes(b"PAR1 and no more")
    assert "t.parquet is no Parquet file" in refusal("folder", raw, folder__labels="table", folder__table="t.parquet")
