import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from rediffuse.data.shards import check_shards, read_manifest, read_rows, write_shards
from rediffuse.data.sources import SOURCES
from rediffuse.errors import UserError
from rediffuse.files import sha256
from tests.data.planted import contents, image_file


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for i in range(7):
        image_file(tmp_path / "raw" / ("cat" if i < 4 else "dog") / f"{i}.png", i)
    return tmp_path / "raw"


def test_shards_give_back_every_row_in_order(raw: Path, tmp_path: Path) -> None:
    source = SOURCES["folder"](raw)
    prepared = write_shards(source, tmp_path / "out", shard_rows=3)
    assert [shard.rows for shard in prepared.shards] == [3, 3, 1]
    assert read_manifest(tmp_path / "out") == prepared
    assert list(read_rows(tmp_path / "out")) == list(source)


def test_manifest_lists_the_shards_with_their_digests(raw: Path, tmp_path: Path) -> None:
    write_shards(SOURCES["folder"](raw), tmp_path / "out", shard_rows=4)
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    names = ["shard-00000.parquet", "shard-00001.parquet"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["manifest.json", *names]
    assert content == {
        "rows": 7,
        "classes": ["cat", "dog"],
        "source": "folder",
        "shards": [
            {"file": name, "rows": rows, "sha256": sha256(tmp_path / "out" / name)}
            for name, rows in zip(names, (4, 3), strict=True)
        ],
    }


def test_row_groups_change_neither_rows_nor_shards(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rediffuse.data.shards._ROW_GROUP", 2)
    source = SOURCES["folder"](raw)
    write_shards(source, tmp_path / "out", shard_rows=5)
    file = pq.ParquetFile(tmp_path / "out" / "shard-00000.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 1]
    assert list(read_rows(tmp_path / "out")) == list(source)


def test_shards_follow_the_hugging_face_layout(raw: Path, tmp_path: Path) -> None:
    write_shards(SOURCES["folder"](raw), tmp_path / "out", shard_rows=100)
    shard = tmp_path / "out" / "shard-00000.parquet"
    schema = pq.read_schema(shard)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": ["cat", "dog"], "_type": "ClassLabel"}
    assert list(features) == schema.names
    first = pd.read_parquet(shard).iloc[0]
    assert first["image"] == {"bytes": (raw / "cat" / "0.png").read_bytes(), "path": "cat/0.png"}
    assert first["label"] == 0


def test_a_source_that_fails_half_way_leaves_the_earlier_shards(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(SOURCES["folder"](raw), out, shard_rows=3)
    before = contents(out)
    (raw / "dog" / "nested").mkdir()
    with pytest.raises(UserError, match="nested"):
        write_shards(SOURCES["folder"](raw), out, shard_rows=2)
    assert contents(out) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "raw"]


def test_a_source_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match="folder holds no images at all"):
        write_shards(SOURCES["folder"](tmp_path / "raw"), tmp_path / "out", shard_rows=2)
    assert not (tmp_path / "out").exists()


def test_a_damaged_or_missing_shard_is_noticed(raw: Path, tmp_path: Path) -> None:
    prepared = write_shards(SOURCES["folder"](raw), tmp_path / "out", shard_rows=4)
    check_shards(tmp_path / "out", prepared)
    shard = tmp_path / "out" / "shard-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"shard-00001\.parquet is damaged"):
        check_shards(tmp_path / "out", prepared)
    shard.unlink()
    with pytest.raises(UserError, match=r"shard-00001\.parquet is missing"):
        check_shards(tmp_path / "out", prepared)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[]", "an object"),
        (b"{}", "rows"),
        (b'{"rows": "7", "classes": [], "source": "folder", "shards": []}', "rows"),
        (b'{"rows": 7, "classes": [1], "source": "folder", "shards": []}', r"classes\.0"),
        (b'{"rows": 7, "classes": [], "source": "folder", "shards": [{"file": "a", "rows": 7}]}', r"shards\.0\.sha256"),
        (b'{"rows": 7, "classes": [], "source": "folder", "shards": {"file": 7}}', "shards"),
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(
        UserError, match=rf"manifest\.json is not a manifest of shards \(.*{fault}.*; run dvc repro prepare$"
    ):
        read_manifest(tmp_path)
