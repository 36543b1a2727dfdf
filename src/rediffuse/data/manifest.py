"""The tables of the data stages: what each column holds, checked where a table is read.

Columns have nullable dtypes, so that a missing label is missing and not a float.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet as pq

from rediffuse.errors import UserError

FAULTS = (
    "refused",
    "empty",
    "unknown_format",
    "damaged",
    "too_many_pixels",
    "unbounded",
    "sixteen_bit",
    "floating_point",
    "cmyk",
    "palette",
    "transparency",
    "rotation",
    "animation",
)
"""Why an image can't be decoded, or may not be: the source refuses it, its bytes are no image, or `clean.decode` says
so of how it is stored."""

CONVERSIONS = ("sixteen_bit", "floating_point", "cmyk", "palette", "transparency", "rotation", "animation")
"""What decoding did to an image that is stored in an unusual way."""

CHECKS = (
    "missing_label",
    "missing_caption",
    "name_collision",
    "blank",
    "dark",
    "bright",
    "low_information",
    "size_outlier",
    "aspect_outlier",
    "duplicate",
    "near_duplicate",
    "class_outlier",
    "label_suspect",
)
"""What `clean.checks` may find, in the order in which it looks."""

SPLITS = ("train", "val", "test")

OVERLAP = "overlap"
"""In place of a split: an example of the source's own train or val that repeats one of its test (or val) set, so that
nothing uses it."""

_INTEGER, _REAL, _TEXT = pd.Int64Dtype(), pd.Float64Dtype(), pd.StringDtype()
_DTYPES = {pyarrow.int64(): _INTEGER, pyarrow.float64(): _REAL, pyarrow.string(): _TEXT}


def _table(**columns: pa.Column) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def _text(*checks: pa.Check, nullable: bool = False, unique: bool = False) -> pa.Column:
    return pa.Column(_TEXT, list(checks), nullable=nullable, unique=unique)


def _integer(least: int, *, nullable: bool = False) -> pa.Column:
    return pa.Column(_INTEGER, pa.Check.ge(least), nullable=nullable)


def _real(*checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(_REAL, list(checks), nullable=nullable)


MANIFEST = _table(
    id=_text(unique=True),
    sha256=_text(pa.Check.str_matches(r"^[0-9a-f]{64}$")),
    width=_integer(1),
    height=_integer(1),
    mode=_text(),
    label=_integer(0, nullable=True),
    caption=_text(nullable=True),
    given_split=_text(pa.Check.isin(SPLITS), nullable=True),
    origin=_text(),
    group=_text(),
    converted=_text(),
    findings=_text(),
    brightness=_real(pa.Check.in_range(0, 255)),
    contrast=_real(pa.Check.ge(0)),
    entropy=_real(pa.Check.in_range(0, 8)),
    deviations=_real(nullable=True),
    probability=_real(pa.Check.in_range(0, 1), nullable=True),
    suggestion=_integer(0, nullable=True),
)
"""One row an example, in the order of examples.npy.

sha256 is of the decoded pixels, before formatting; width and height are the upright image's, mode is the file's;
given_split is the source's own. Examples of one `group` (the id of its first member that is kept) are duplicates or
near duplicates of each other. converted and findings are names of CONVERSIONS and of CHECKS, joined by spaces.
brightness (mean), contrast (standard deviation) and entropy (bits) are of the grey levels, 0 to 255. deviations is the
distance from the class in feature space, probability the out-of-fold one that the label is right, and suggestion the
likeliest other class, where one fits as well as its own members do.
"""

REJECTED = _table(
    id=_text(unique=True),
    origin=_text(),
    label=_integer(0, nullable=True),
    reason=_text(pa.Check.isin((*FAULTS, *CHECKS))),
    detail=_text(),
    group=_text(),
)
"""One row for each row of the source that is dropped; the quarantined ones have a table of the same columns. `group` is
the one of MANIFEST, also of what went because others of it stayed."""

SPLIT = _table(id=_text(unique=True), split=_text(pa.Check.isin((*SPLITS, OVERLAP))))
"""One row an example, in the order of the manifest."""


def write_columns(path: Path, schema: pa.DataFrameSchema, columns: Mapping[str, Any]) -> None:
    """Write whole columns as Parquet, the same bytes for the same values."""
    table = pyarrow.table(dict(columns), schema=arrow_schema(schema))
    pq.write_table(table.combine_chunks(), path, compression="zstd")


def arrow_schema(schema: pa.DataFrameSchema) -> pyarrow.Schema:
    """The columns of a table as Arrow stores them."""
    # By type: pandera may give a string column another missing value than it was told.
    stored = {type(dtype): arrow for arrow, dtype in _DTYPES.items()}
    return pyarrow.schema([(name, stored[type(column.dtype.type)]) for name, column in schema.columns.items()])


def read_table(path: Path, schema: pa.DataFrameSchema, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table, or some of its columns in the schema's order, and check it.

    Raises:
        UserError: the file is missing, no Parquet, or breaks the schema; the message names column and row.
    """
    chosen = [name for name in schema.columns if columns is None or name in columns]
    try:
        stored = pq.read_table(path, columns=None if columns is None else chosen)
        # Column by column, so that a million rows are not held twice.
        table = stored.to_pandas(types_mapper=_DTYPES.get, ignore_metadata=True, split_blocks=True, self_destruct=True)
        return schema.select_columns(chosen).validate(table)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stages before this one first (dvc repro)") from None
    except (pyarrow.ArrowException, pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        # pandera lists every value that is wrong: the first few tell enough.
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise UserError(f"{path} is not the table it should be: {reason}") from None
