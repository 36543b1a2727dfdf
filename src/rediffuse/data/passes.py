"""The two passes over the shards: look at every image, then format those that are kept. They run in worker processes.

Each is a pure function of one shard and writes a folder of its own, so that neither the number of workers nor the
order in which they end can change a byte, and memory holds one batch of rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rediffuse.data.decoding import DecodePolicy, decode
from rediffuse.data.duplicates.keys import keys
from rediffuse.data.formatting import Resize, square
from rediffuse.data.looking import VIEW_BYTES, look
from rediffuse.data.shards import read_shard
from rediffuse.data.sources import Row

LOOK, VIEWS, KEYS, EXAMPLES = "look.parquet", "views.npy", "keys.npy", "examples.npy"

# What is measured together: enough for speed, and few enough bytes where files are large photographs.
_BATCH, _BATCH_BYTES = 256, 1 << 26


@dataclass(frozen=True, kw_only=True)
class Looking:
    """One shard to look at."""

    shard: Path
    sha256: str
    rows: int
    policy: DecodePolicy
    resize: Resize


@dataclass(frozen=True, kw_only=True)
class Formatting:
    """One shard whose images at `positions` (of its own rows, rising) become examples of `shape`, C×H×W."""

    shard: Path
    sha256: str
    positions: np.ndarray
    shape: tuple[int, int, int]
    policy: DecodePolicy
    resize: Resize


def look_at(task: Looking, folder: Path) -> None:
    """Write what `look` finds in a shard: a row an image in look.parquet, its view, and its keys."""
    with (folder / VIEWS).open("wb") as views, (folder / KEYS).open("wb") as found, _Tables(folder / LOOK) as tables:
        for number, batch in enumerate(_batches(read_shard(task.shard))):
            table, seen = look(batch, task.policy, task.resize)
            ends = keys(seen)
            if number == 0:
                _begin(views, (task.rows, *seen.shape[1:]), seen.dtype)
                _begin(found, (task.rows, *ends.shape[1:]), ends.dtype)
            tables.write(table)
            views.write(seen.tobytes())
            found.write(ends.tobytes())


def read_views(folder: Path, rows: np.ndarray) -> np.ndarray:
    """The views at some rows, rising, of a shard that was looked at; uint8, len(rows)×1072.

    Not through a memory map: the pages that it touches would count as this process's memory.
    """
    found = np.empty((len(rows), VIEW_BYTES), np.uint8)
    with (folder / VIEWS).open("rb", buffering=0) as file:
        version = np.lib.format.read_magic(file)
        assert version == (1, 0)  # as `_begin` writes it
        np.lib.format.read_array_header_1_0(file)
        first = file.tell()
        begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(rows)], strict=True):
            file.seek(first + int(rows[begin]) * VIEW_BYTES)
            file.readinto(found[begin:end].data)
    return found


def format_from(task: Formatting, folder: Path) -> None:
    """Write the examples of a shard, in the order of its rows."""
    with (folder / EXAMPLES).open("wb") as file:
        _begin(file, (len(task.positions), *task.shape), np.dtype(np.uint8))
        for content in _contents(task.shard, task.positions):
            pixels = decode(content, task.policy).pixels
            file.write(square(pixels, task.shape[1], task.shape[0], task.resize, task.policy.background).tobytes())


def _contents(shard: Path, positions: np.ndarray) -> Iterator[bytes]:
    """The image files at some positions of a shard."""
    wanted = iter(positions.tolist())
    following = next(wanted, None)
    for position, row in enumerate(read_shard(shard)):
        if following is None:
            return
        if position == following:
            yield row.content
            following = next(wanted, None)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows together, fewer where their files are large."""
    batch: list[Row] = []
    held = 0
    for row in rows:
        batch.append(row)
        held += len(row.content)
        if len(batch) == _BATCH or held > _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _begin(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """The header of a .npy file whose values are written after it, a batch at a time."""
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)


class _Tables:
    """A Parquet file that takes its columns from the first table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
