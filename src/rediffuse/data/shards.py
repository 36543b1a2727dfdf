"""Parquet shards of encoded images, in the layout that Hugging Face `datasets`, pandas, DuckDB, Spark and Ray read.

A folder of shards holds `shard-00000.parquet`, ... and `manifest.json`, which lists them with their SHA-256. The same
rows give the same bytes: compression, row groups and the columns' order are fixed here.
"""

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from rediffuse import files
from rediffuse.data.sources.source import Row, Source
from rediffuse.errors import UserError

# Few enough rows that a group of photographs fits into memory, whatever prepare.shard_rows says.
_ROW_GROUP = 256


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
    shards: tuple[Shard, ...]


def write_shards(source: Source, folder: Path, shard_rows: int) -> Prepared:
    """Write all rows of a source, `shard_rows` in a shard, as the whole of `folder`.

    Raises:
        UserError: the source has no rows, or can't be read; what `folder` held before stays as it was.
    """
    with _replacing_folder(folder) as temporary:
        schema = _schema(source.classes)
        shards: list[Shard] = []
        rows = iter(source)
        for number in itertools.count():
            first = next(rows, None)
            if first is None:
                break
            path = temporary / f"shard-{number:05d}.parquet"
            count = _write_shard(path, itertools.chain([first], itertools.islice(rows, shard_rows - 1)), schema)
            shards.append(Shard(file=path.name, rows=count, sha256=files.sha256(path)))
        if not shards:
            raise UserError(f"prepare.source: {source.name} holds no images at all; at least one is needed")
        prepared = Prepared(
            rows=sum(shard.rows for shard in shards),
            classes=source.classes,
            source=source.name,
            shards=tuple(shards),
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
        with pq.ParquetFile(folder / shard.file) as file:
            for batch in file.iter_batches(batch_size=_ROW_GROUP):
                for values in batch.to_pylist():
                    yield Row(content=values.pop("image")["bytes"], **values)


def _write_shard(path: Path, rows: Iterator[Row], schema: pa.Schema) -> int:
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, _ROW_GROUP)):
            columns = {
                "image": [{"bytes": row.content, "path": row.origin} for row in group],
                **{name: [getattr(row, name) for row in group] for name in schema.names[1:]},
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=_ROW_GROUP)
            count += len(group)
    return count


def _schema(classes: tuple[str, ...]) -> pa.Schema:
    """The columns, with the description under which `datasets` shows images and class names."""
    text = {"dtype": "string", "_type": "Value"}
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"} if classes else {"dtype": "int64", "_type": "Value"},
        "caption": text,
        "id": text,
        "split": text,
        "origin": text,
    }
    return pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
            *((name, pa.string()) for name in ("caption", "id", "split", "origin")),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)},
    )


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, and let it take the other's place when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
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
