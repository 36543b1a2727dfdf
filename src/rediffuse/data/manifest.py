"""The tables of the data stages: what each column holds, checked where a table is read.

Columns have nullable dtypes, so that a missing label is missing and not a float.
"""

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet as pq

from rediffuse.errors import UserError

REASONS = ("undecodable", "blank", "duplicate")
"""Why `clean` drops a row."""

SPLITS = ("train", "val", "test")

_INTEGER, _TEXT = pd.Int64Dtype(), pd.StringDtype()


def _table(**columns: pa.Column) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def _text(*checks: pa.Check, nullable: bool = False, unique: bool = False) -> pa.Column:
    return pa.Column(_TEXT, list(checks), nullable=nullable, unique=unique)


def _integer(least: int, *, nullable: bool = False) -> pa.Column:
    return pa.Column(_INTEGER, pa.Check.ge(least), nullable=nullable)


MANIFEST = _table(
    id=_text(unique=True),
    sha256=_text(pa.Check.str_matches(r"^[0-9a-f]{64}$"), unique=True),
    width=_integer(1),
    height=_integer(1),
    mode=_text(),
    label=_integer(0, nullable=True),
    caption=_text(nullable=True),
    given_split=_text(pa.Check.isin(("train", "test")), nullable=True),
    origin=_text(),
    group=_text(),
)
"""One row an example, in the order of examples.npy. sha256 is of the decoded pixels, before formatting; width, height
and mode are the file's; given_split is the source's own; examples of one `group` are near duplicates of each other."""

REJECTED = _table(
    id=_text(unique=True),
    origin=_text(),
    label=_integer(0, nullable=True),
    reason=_text(pa.Check.isin(REASONS)),
    detail=_text(),
)
"""One row for each row of the source that is not in the manifest."""

SPLIT = _table(id=_text(unique=True), split=_text(pa.Check.isin(SPLITS)))
"""One row an example, in the order of the manifest."""


def write_table(path: Path, schema: pa.DataFrameSchema, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as Parquet, the same bytes for the same rows."""
    columns = [
        (name, pyarrow.int64() if column.dtype.type == _INTEGER else pyarrow.string())
        for name, column in schema.columns.items()
    ]
    table = pyarrow.Table.from_pylist(list(rows), schema=pyarrow.schema(columns))
    pq.write_table(table, path, compression="zstd")


def read_table(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a table and check it.

    Raises:
        UserError: the file is missing, no Parquet, or breaks the schema; the message names column and row.
    """
    dtypes = {pyarrow.int64(): _INTEGER, pyarrow.string(): _TEXT}
    try:
        table = pq.read_table(path).to_pandas(types_mapper=dtypes.get, ignore_metadata=True)
        return schema.validate(table)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stages before this one first (dvc repro)") from None
    except (pyarrow.ArrowException, pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        # pandera lists every value that is wrong: the first few tell enough.
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise UserError(f"{path} is not the table it should be: {reason}") from None
