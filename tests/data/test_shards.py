import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rediffuse.data.boundaries import Boundaries, id_digest
from rediffuse.data.shards import check_shards, read_manifest, read_rows, write_shards
from rediffuse.data.sources import About, Row
from rediffuse.errors import UserError
from rediffuse.files import sha256
from tests.data.planted import contents, image_file, opened


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for i in range(7):
        image_file(tmp_path / "raw" / ("cat" if i < 4 else "dog") / f"{i}.png", i)
    return tmp_path / "raw"


def test_shards_give_back_every_row_in_order(raw: Path, tmp_path: Path) -> None:
    (raw / "dog" / "link.png").symlink_to("nowhere")
    source = opened("folder", raw)
    done: list[int] = []
    prepared = write_shards(source, tmp_path / "out", shard_rows=1, progress=done.append)
    assert [shard.rows for shard in prepared.shards] == [1] * 8
    assert sum(done) == prepared.rows == 8
    assert read_manifest(tmp_path / "out") == prepared
    assert list(read_rows(tmp_path / "out")) == list(source)


def test_manifest_lists_the_shards_with_their_digests_and_says_where_the_data_comes_from(
    raw: Path, tmp_path: Path
) -> None:
    about = About(origin="a shelter", licence="CC0", retrieved="2026-11-23")
    write_shards(opened("folder", raw), tmp_path / "out", shard_rows=1, about=about)
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    names = [f"shard-{i:05d}.parquet" for i in range(7)]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["manifest.json", *names]
    assert content == {
        "rows": 7,
        "classes": ["cat", "dog"],
        "source": "folder",
        "about": {"origin": "a shelter", "licence": "CC0", "retrieved": "2026-11-23"},
        "shards": [{"file": name, "rows": 1, "sha256": sha256(tmp_path / "out" / name)} for name in names],
    }


def lengths(ids: Iterable[str], shard_rows: int) -> list[int]:
    """Rows of each shard but the last."""
    boundaries = Boundaries(shard_rows)
    ends = [i + 1 for i, name in enumerate(ids) if boundaries.ends_after(id_digest(name))]
    return np.diff([0, *ends]).tolist()


@pytest.mark.parametrize("shard_rows", [1, 2, 3, 7, 50, 400])
def test_shards_are_as_long_as_asked_for_and_never_shorter_than_a_quarter_or_longer_than_four_times(
    shard_rows: int,
) -> None:
    found = lengths((f"train-{i:06d}" for i in range(400 * shard_rows)), shard_rows)
    assert min(found) >= shard_rows / 4
    assert max(found) <= 4 * shard_rows
    # Four standard errors of a mean of 400 lengths.
    assert np.mean(found) == pytest.approx(shard_rows, rel=4 * 0.75 / 400**0.5)


def shards_of(names: Sequence[str], shard_rows: int) -> set[tuple[str, ...]]:
    ends = np.cumsum(lengths(names, shard_rows)).tolist()
    return {tuple(names[start:end]) for start, end in itertools.pairwise([0, *ends, len(names)])}


def test_an_image_more_or_less_changes_one_or_two_shards_and_no_others() -> None:
    names = [f"cat/{i:06d}.png" for i in range(5_000)]
    before = shards_of(names, 100)
    assert len(before) > 40
    changed = []
    for at in range(0, 5_000, 49):
        less, more = names[:at] + names[at + 1 :], [*names[:at], f"cat/{at:06d}-more.png", *names[at:]]
        changed += [len(shards_of(less, 100) - before), len(shards_of(more, 100) - before)]
    assert np.mean([count <= 2 for count in changed]) > 0.95
    assert np.mean(changed) < 1.5


def test_shards_that_an_added_image_does_not_touch_keep_their_bytes(tmp_path: Path) -> None:
    for i in range(300):
        image_file(tmp_path / "raw" / "cat" / f"{i:04d}.png", i, height=4, width=4)
    before = write_shards(opened("folder", tmp_path / "raw"), tmp_path / "out", shard_rows=20)
    image_file(tmp_path / "raw" / "cat" / "0000-more.png", 300)
    after = write_shards(opened("folder", tmp_path / "raw"), tmp_path / "out", shard_rows=20)
    old, new = ({shard.sha256 for shard in prepared.shards} for prepared in (before, after))
    assert len(old) > 10
    assert 1 <= len(new - old) <= 2


@pytest.mark.parametrize(("rows", "size"), [(2, 1 << 26), (256, 1000)])
def test_row_groups_are_bounded_in_rows_and_bytes_and_change_no_row(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, size: int
) -> None:
    monkeypatch.setattr("rediffuse.data.shards._ROW_GROUP", rows)
    monkeypatch.setattr("rediffuse.data.shards._GROUP_BYTES", size)
    source = opened("folder", raw)
    # 12×12 RGB noise is 500 bytes and more, so that three are above 1,000 and one isn't.
    write_shards(source, tmp_path / "out", shard_rows=100)
    file = pq.ParquetFile(tmp_path / "out" / "shard-00000.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 2, 1]
    assert list(read_rows(tmp_path / "out")) == list(source)


def test_shards_follow_the_hugging_face_layout(raw: Path, tmp_path: Path) -> None:
    write_shards(opened("folder", raw), tmp_path / "out", shard_rows=100)
    shard = tmp_path / "out" / "shard-00000.parquet"
    schema = pq.read_schema(shard)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": ["cat", "dog"], "_type": "ClassLabel"}
    assert list(features) == schema.names
    first = pd.read_parquet(shard).iloc[0]
    assert first["image"] == {"bytes": (raw / "cat" / "0.png").read_bytes(), "path": "cat/0.png"}
    assert first["label"] == 0


@dataclass(frozen=True)
class Planted:
    """A source of these rows."""

    rows: Sequence[Row]
    name: str = "planted"
    classes: tuple[str, ...] = ()
    about: About = field(default_factory=About)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def test_two_rows_with_one_id_are_refused_wherever_they_lie(tmp_path: Path) -> None:
    rows = [Row(id=f"{i}", content=b"x", label=None, origin=f"file {i}") for i in range(50)]
    write_shards(Planted(rows), tmp_path / "out", shard_rows=10)
    before = contents(tmp_path / "out")
    with pytest.raises(UserError, match=r"^planted: two rows have the id '7' \(file 7\); each needs its own$"):
        write_shards(Planted([*rows, replace(rows[7])]), tmp_path / "out", shard_rows=10)
    assert contents(tmp_path / "out") == before


def test_a_source_that_fails_half_way_leaves_the_earlier_shards(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(opened("folder", raw), out, shard_rows=3)
    before = contents(out)

    class Failing(Planted):
        def __iter__(self) -> Iterator[Row]:
            yield from self.rows
            raise UserError("the cable is unplugged")

    with pytest.raises(UserError, match="unplugged"):
        write_shards(Failing(list(opened("folder", raw))), out, shard_rows=2)
    assert contents(out) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "raw"]


def test_what_a_killed_run_left_is_removed_and_nothing_else(raw: Path, tmp_path: Path) -> None:
    for name in (".17.new.out", ".18.old.out", ".17.new.outer", "x.17.new.out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shard-00000.parquet").write_bytes(b"half")
    write_shards(opened("folder", raw), tmp_path / "out", shard_rows=3)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".17.new.outer", "out", "raw", "x.17.new.out"]


def test_a_source_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match="folder holds no images at all"):
        write_shards(opened("folder", tmp_path / "raw"), tmp_path / "out", shard_rows=2)
    assert not (tmp_path / "out").exists()


def test_a_damaged_or_missing_shard_is_noticed(raw: Path, tmp_path: Path) -> None:
    prepared = write_shards(opened("folder", raw), tmp_path / "out", shard_rows=1)
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
        (b'{"rows": "7", "classes": [], "source": "folder", "about": {}, "shards": []}', "rows"),
        (b'{"rows": 7, "classes": [1], "source": "folder", "about": {}, "shards": []}', r"classes\.0"),
        (
            b'{"rows": 7, "classes": [], "source": "folder", "about": {}, "shards": [{"file": "a", "rows": 7}]}',
            r"shards\.0\.sha256",
        ),
        (b'{"rows": 7, "classes": [], "source": "folder", "about": {}, "shards": {"file": 7}}', "shards"),
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(
        UserError, match=rf"manifest\.json is not a manifest of shards \(.*{fault}.*; run dvc repro prepare$"
    ):
        read_manifest(tmp_path)
