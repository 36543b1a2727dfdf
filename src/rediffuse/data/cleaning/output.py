"""The tables of a cleaned data set, written a shard at a time: the columns of the shards beside the verdicts."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rediffuse.data.cleaning.explanation import Explanation
from rediffuse.data.cleaning.rows import Array, Rows
from rediffuse.data.cleaning.verdicts import DROP, KEEP, QUARANTINE, REASONS, Verdicts
from rediffuse.data.manifest import CHECKS, CONVERSIONS, MANIFEST, REJECTED, arrow_schema


def write_tables(
    rows: Rows, verdicts: Verdicts, explanation: Explanation, manifest: Path, rejected: Path, quarantined: Path
) -> None:
    """Write each row of the source into one of three tables, in the order of the source."""
    kept, gone = arrow_schema(MANIFEST), arrow_schema(REJECTED)
    with ExitStack() as stack:
        tables = {
            KEEP: stack.enter_context(pq.ParquetWriter(manifest, kept, compression="zstd")),
            DROP: stack.enter_context(pq.ParquetWriter(rejected, gone, compression="zstd")),
            QUARANTINE: stack.enter_context(pq.ParquetWriter(quarantined, gone, compression="zstd")),
        }
        for number in range(len(rows.shards)):
            columns = rows.columns(number, ["id", "label", "caption", "split", "origin"])
            here = rows.of_shard(number)
            for action, table in tables.items():
                chosen = np.flatnonzero(verdicts.action[here] == action)
                positions = here.start + chosen
                texts = columns.take(pa.array(chosen))
                if action == KEEP:
                    modes = rows.remarks(number).take(pa.array(chosen))["mode"]
                    written = _kept(rows, verdicts, explanation, positions, texts, modes)
                else:
                    written = _gone(verdicts, explanation, positions, texts)
                table.write_table(pa.table(written, schema=kept if action == KEEP else gone))


def _kept(
    rows: Rows, verdicts: Verdicts, explanation: Explanation, positions: Array, texts: pa.Table, modes: pa.ChunkedArray
) -> dict[str, object]:
    return {
        "id": texts["id"],
        "sha256": rows.hex_digests(positions),
        "width": rows.width[positions].astype(np.int64),
        "height": rows.height[positions].astype(np.int64),
        "mode": modes,
        "label": texts["label"],
        "caption": texts["caption"],
        "given_split": texts["split"],
        "origin": texts["origin"],
        "group": explanation.ids(verdicts.group[positions], positions, texts["id"]),
        "converted": _words(rows.conversions[positions], CONVERSIONS),
        "findings": _words(verdicts.marks[positions], CHECKS),
        **{name: _nullable(getattr(rows, name)[positions]) for name in ("brightness", "contrast", "entropy")},
        "deviations": _nullable(verdicts.deviations[positions]),
        "probability": _nullable(verdicts.probability[positions]),
        "suggestion": pa.array(
            verdicts.suggestion[positions].astype(np.int64), mask=verdicts.suggestion[positions] < 0
        ),
    }


def _gone(verdicts: Verdicts, explanation: Explanation, positions: Array, texts: pa.Table) -> dict[str, object]:
    return {
        "id": texts["id"],
        "origin": texts["origin"],
        "label": texts["label"],
        "reason": [REASONS[reason] for reason in verdicts.reason[positions]],
        "detail": [explanation.of(position) for position in positions.tolist()],
        "group": explanation.ids(verdicts.group[positions], positions, texts["id"]),
    }


def _words(bits: Array, names: Sequence[str]) -> list[str]:
    """The names of the bits that are set, joined by spaces."""
    texts = {
        value: " ".join(name for position, name in enumerate(names) if value >> position & 1)
        for value in np.unique(bits).tolist()
    }
    return [texts[value] for value in bits.tolist()]


def _nullable(values: Array) -> pa.Array:
    # All were rounded to four decimals, which float64 has to show again.
    return pa.array(np.round(values.astype(np.float64), 4), mask=np.isnan(values))
