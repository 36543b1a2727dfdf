"""What is known of every row of the shards, as one array a fact: a million rows take a few hundred MB and no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rediffuse.data.checks import name_hashes
from rediffuse.data.looking import VIEW_BYTES
from rediffuse.data.manifest import CONVERSIONS, FAULTS, SPLITS
from rediffuse.data.passes import KEYS, LOOK, read_views

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Rows:
    """N rows in the order of the shards. What describes the image is without meaning where `fault` is not 0.

    Args:
        shards: the files they stand in.
        looked: the folders with what the first pass wrote of each.
        starts: position of each shard's first row, and N behind the last.
        label: int32, -1: none.
        captioned: bool.
        given: uint8, 1 + position in SPLITS; 0: the source has no parts, or the row is in none.
        names, folded: uint64 hashes of the id, and of the id without case.
        fault: uint8, 1 + position in FAULTS; 0: the image was decoded.
        conversions: uint8, bit i: CONVERSIONS[i] was applied.
        digest: uint64, N×4, SHA-256 of the decoded pixels.
        width, height: int32, pixels of the upright image.
        grey: bool, every pixel is.
        range: uint8, greatest level less least, of the channel in which that is most.
        brightness, contrast, entropy: float32, of the grey levels.
    """

    shards: Sequence[Path]
    looked: Sequence[Path]
    starts: Array
    label: Array
    captioned: Array
    given: Array
    names: Array
    folded: Array
    fault: Array
    conversions: Array
    digest: Array
    width: Array
    height: Array
    grey: Array
    range: Array
    brightness: Array
    contrast: Array
    entropy: Array

    def __len__(self) -> int:
        return int(self.starts[-1])

    @classmethod
    def read(cls, shards: Sequence[Path], looked: Sequence[Path]) -> "Rows":
        """Gather the columns of the shards and what the first pass wrote of them."""
        gathered = [_facts(shard, look) for shard, look in zip(shards, looked, strict=True)]
        counts = [len(facts["label"]) for facts in gathered]
        return cls(
            shards=shards,
            looked=looked,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            **{name: np.concatenate([facts.pop(name) for facts in gathered]) for name in list(gathered[0])},
        )

    def keys(self, rows: Array) -> Array:
        """The keys of some rows, rising, for the search of near duplicates, uint64 len(rows)×K; read from disk, too."""
        ends = np.searchsorted(rows, self.starts)
        parts = [
            np.load(self.looked[number] / KEYS)[rows[ends[number] : ends[number + 1]] - self.starts[number]]
            for number in range(len(self.looked))
        ]
        return np.concatenate(parts)

    def views(self, rows: Array) -> Array:
        """The views of some rows, uint8 len(rows)×1072, read from disk: nothing of them stays in memory."""
        found = np.empty((len(rows), VIEW_BYTES), np.uint8)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        ends = np.searchsorted(wanted, self.starts)
        for number in np.flatnonzero(np.diff(ends)).tolist():
            here = slice(ends[number], ends[number + 1])
            found[order[here]] = read_views(self.looked[number], wanted[here] - self.starts[number])
        return found

    def of_shard(self, number: int) -> slice:
        """The positions of a shard's rows."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))

    def columns(self, number: int, names: Sequence[str]) -> pa.Table:
        """Some columns of a shard."""
        return _columns(self.shards[number], names)

    def remarks(self, number: int) -> pa.Table:
        """What the first pass says in words of the rows of a shard: detail and mode."""
        return _columns(self.looked[number] / LOOK, ["detail", "mode"])

    def origin(self, position: int) -> str:
        """Where a person finds the image of one row."""
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        origin: str = self.columns(number, ["origin"])["origin"][position - int(self.starts[number])].as_py()
        return origin

    def hex_digests(self, positions: Array) -> list[str]:
        """The SHA-256 of some rows' pixels."""
        text = self.digest[positions].tobytes().hex()
        return [text[start : start + 64] for start in range(0, len(text), 64)]


def _columns(path: Path, names: Sequence[str]) -> pa.Table:
    # Arrow's threads and read-ahead would each keep memory of their own.
    return pq.read_table(path, columns=list(names), use_threads=False, pre_buffer=False)


def _facts(shard: Path, looked: Path) -> dict[str, Array]:
    meta = _columns(shard, ["id", "label", "caption", "split"])
    look = _columns(looked / LOOK, _LOOK_COLUMNS)
    return {
        "label": _numbers(pc.fill_null(meta["label"], -1), np.int32),
        "captioned": _numbers(pc.is_valid(meta["caption"]), bool),
        "given": _positions(meta["split"], SPLITS),
        "names": name_hashes(meta["id"]),
        "folded": name_hashes(meta["id"], casefold=True),
        "fault": _positions(look["reason"], FAULTS),
        "conversions": _bits(look["converted"], CONVERSIONS),
        "digest": _digests(look["sha256"]),
        **{name: _numbers(look[name], dtype) for name, dtype in _NUMBERS.items()},
    }


_NUMBERS = {
    "width": np.int32,
    "height": np.int32,
    "grey": bool,
    "range": np.uint8,
    "brightness": np.float32,
    "contrast": np.float32,
    "entropy": np.float32,
}
_LOOK_COLUMNS = ["reason", "converted", "sha256", *_NUMBERS]


def _numbers(column: pa.ChunkedArray, dtype: type) -> Array:
    return np.asarray(column.to_numpy()).astype(dtype)


def _positions(column: pa.ChunkedArray, names: Sequence[str]) -> Array:
    """1 + the position of each text in `names`, and 0 where it is none of them."""
    return (1 + _numbers(pc.fill_null(pc.index_in(column, pa.array(names)), -1), np.int64)).astype(np.uint8)


def _bits(column: pa.ChunkedArray, names: Sequence[str]) -> Array:
    """Bit i: names[i] is among the words of the text."""
    bits = np.zeros(len(column), np.uint8)
    for position, name in enumerate(names):
        there = pc.match_substring_regex(column, rf"\b{name}\b")
        bits |= _numbers(there, np.uint8) << position
    return bits


def _digests(column: pa.ChunkedArray) -> Array:
    whole = column.combine_chunks()
    content = whole.buffers()[1].to_pybytes() if len(whole) else b""
    return np.frombuffer(content, np.uint64).reshape(-1, 4)
