"""Parquet shards of encoded images, in the layout that Hugging Face `datasets`, pandas, DuckDB, Spark and Ray read.

A folder of shards holds `shard-00000.parquet`, ... and `manifest.json`, which lists them with their SHA-256. The same
rows give the same bytes: compression, row groups and the columns' order are fixed here. Where a shard ends, a row's id
says and not a count: while the classes stay, an image more or less changes the shard it lies in, sometimes the next
one, and no others, so that what later stages and DVC's cache know of the others stays good.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from rediffuse import files
from rediffuse.data.boundaries import Boundaries, id_digest
from rediffuse.data.sources.source import About, Row, Source
from rediffuse.errors import UserError

# What ends a row group: few enough rows to be read at once, and few enough bytes where they are large photographs.
_ROW_GROUP = 256
_GROUP_BYTES = 1 << 26

_TEXTS = ("caption", "id", "split", "origin", "fault")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a folder of shards, as the manifest lists it."""

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What manifest.json says of a folder of shards."""

    rows: int
    classes: tuple[str, ...]
    source: str
    about: About
    shards: tuple[Shard, ...]


def write_shards(
    source: Source,
    folder: Path,
    shard_rows: int,
    *,
    about: About | None = None,
    progress: Callable[[int], object] | None = None,
) -> Prepared:
    """Write all rows of a source as the whole of `folder`, a row group in memory at a time.

    Args:
        source: its rows need ids of their own.
        shard_rows: rows of a shard, about: the expected number; at least a quarter of it, at most four times as many.
        about: where the data comes from; None: what the source knows.
        progress: called with the number of rows that were written since it was called last.

    Raises:
        UserError: the source has no rows, two with one id, or can't be read; what `folder` held stays as it was.
    """
    with _replacing_folder(folder) as temporary:
        writer = _Writer(temporary, source, Boundaries(shard_rows), progress)
        for row in source:
            writer.add(row)
        shards = writer.close()
        if not shards:
            raise UserError(f"prepare.source: {source.name} holds no images at all; at least one is needed")
        prepared = Prepared(
            rows=sum(shard.rows for shard in shards),
            classes=source.classes,
            source=source.name,
            about=source.about if about is None else about,
            shards=shards,
        )
        files.write_json(temporary / "manifest.json", asdict(prepared))
    return prepared


def read_manifest(folder: Path) -> Prepared:
    """The manifest of a folder of shards.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / "manifest.json"
    try:
        return TypeAdapter(Prepared).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage prepare first") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise UserError(
            f"{path} is not a manifest of shards ({': '.join(filter(None, (where, fault['msg'])))}); "
            "run dvc repro prepare"
        ) from None


def check_shards(folder: Path, prepared: Prepared) -> None:
    """Compare every shard with the digest in the manifest: DVC checks a damaged cache out without a word.

    Raises:
        UserError: a shard is missing or holds other bytes.
    """
    for shard in prepared.shards:
        path = folder / shard.file
        if not path.is_file() or files.sha256(path) != shard.sha256:
            state = "damaged" if path.is_file() else "missing"
            raise UserError(f"{path} is {state}: its SHA-256 has to be {shard.sha256}; run the stage prepare again")


def read_rows(folder: Path) -> Iterator[Row]:
    """All rows of a folder of shards in their order, a row group in memory at a time."""
    for shard in read_manifest(folder).shards:
        yield from read_shard(folder / shard.file)


def read_shard(path: Path) -> Iterator[Row]:
    """The rows of one shard, a row group in memory at a time."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            group = file.read_row_group(number)
            contents = group.column("image").combine_chunks().field("bytes").to_pylist()
            columns = [group.column(name).to_pylist() for name in ("label", *_TEXTS)]
            for content, label, caption, id_, split, origin, fault in zip(contents, *columns, strict=True):
                yield Row(
                    id=id_, content=content, label=label, origin=origin, caption=caption, split=split, fault=fault
                )


@dataclass
class _Writer:
    """Rows to shards in a folder."""

    folder: Path
    source: Source
    boundaries: Boundaries
    progress: Callable[[int], object] | None
    shards: list[Shard] = field(default_factory=list)
    group: list[Row] = field(default_factory=list)
    group_bytes: int = 0
    rows: int = 0
    digests: bytearray = field(default_factory=bytearray)
    parquet: pq.ParquetWriter | None = None

    def __post_init__(self) -> None:
        self.schema = _schema(self.source.classes)

    @property
    def path(self) -> Path:
        return self.folder / f"shard-{len(self.shards):05d}.parquet"

    def add(self, row: Row) -> None:
        digest = id_digest(row.id)
        self.digests += digest
        self.group.append(row)
        self.group_bytes += len(row.content)
        ends = self.boundaries.ends_after(digest)
        if ends or len(self.group) == _ROW_GROUP or self.group_bytes >= _GROUP_BYTES:
            self._write_group()
        if ends:
            self._end_shard()

    def close(self) -> tuple[Shard, ...]:
        if self.group:
            self._write_group()
        if self.parquet:
            self._end_shard()
        self._check_ids()
        return tuple(self.shards)

    def _write_group(self) -> None:
        if self.parquet is None:
            # Images are compressed already, and their bytes are no values to look up or to compare.
            self.parquet = pq.ParquetWriter(
                self.path,
                self.schema,
                compression="zstd",
                use_dictionary=["label", "split", "fault"],
                write_statistics=["label", "id", "split"],
            )
        group = self.group
        image = pa.StructArray.from_arrays(
            [
                pa.array([row.content for row in group], pa.binary()),
                pa.array([row.origin for row in group], pa.string()),
            ],
            fields=list(self.schema.field("image").type),
        )
        columns = [image, pa.array([row.label for row in group], pa.int64())]
        columns += [pa.array([getattr(row, name) for row in group], pa.string()) for name in _TEXTS]
        self.parquet.write_batch(pa.RecordBatch.from_arrays(columns, schema=self.schema), row_group_size=_ROW_GROUP)
        self.rows += len(group)
        if self.progress:
            self.progress(len(group))
        self.group, self.group_bytes = [], 0

    def _end_shard(self) -> None:
        assert self.parquet is not None  # a shard ends after a row
        self.parquet.close()
        self.parquet = None
        before = sum(shard.rows for shard in self.shards)
        self.shards.append(Shard(file=self.path.name, rows=self.rows - before, sha256=files.sha256(self.path)))

    def _check_ids(self) -> None:
        """See that no two rows have one id: everything later finds an image by it."""
        halves = np.frombuffer(self.digests, "<u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        same = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
        if same.any():
            position = int(order[int(np.flatnonzero(same)[0])])
            first = self._row_at(position)
            raise UserError(
                f"{self.source.name}: two rows have the id {first.id!r} ({first.origin}); each needs its own"
            )

    def _row_at(self, position: int) -> Row:
        for shard in self.shards:
            if position < shard.rows:
                rows = read_shard(self.folder / shard.file)
                return next(row for i, row in enumerate(rows) if i == position)
            position -= shard.rows
        raise IndexError(position)


def _schema(classes: tuple[str, ...]) -> pa.Schema:
    """The columns, with the description under which `datasets` shows images and class names."""
    text = {"dtype": "string", "_type": "Value"}
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"} if classes else {"dtype": "int64", "_type": "Value"},
        **dict.fromkeys(_TEXTS, text),
    }
    return pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
            *((name, pa.string()) for name in _TEXTS),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)},
    )


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, and let it take the other's place when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # What a run that was killed left; DVC's lock keeps a second one from running beside this one.
    left = re.compile(rf"\.\d+\.(new|old)\.{re.escape(folder.name)}")
    for entry in folder.parent.iterdir():
        if left.fullmatch(entry.name):
            shutil.rmtree(entry, ignore_errors=True)
    temporary, old = (folder.with_name(f".{os.getpid()}.{name}.{folder.name}") for name in ("new", "old"))
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        files.fsync_directory(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
