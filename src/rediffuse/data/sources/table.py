"""Tables of labels and captions: CSV, JSON Lines or Parquet, one row a file, every mistake named by its line."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rediffuse.data.sources.names import part_called
from rediffuse.data.sources.source import GivenSplit
from rediffuse.errors import UserError
from rediffuse.params import ColumnsParams

_Record = tuple[int, Mapping[str, Any]]
_FILE = "prepare.columns.file"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: the file it names, and what it says of it; None: nothing."""

    number: int  # of the line it begins on, from 1; in Parquet of the row
    file: str
    label: str | None
    caption: str | None
    split: GivenSplit | None


def read_table(path: Path, columns: ColumnsParams) -> Iterator[Line]:
    """The rows of a table, by its suffix .csv, .jsonl or .parquet. Blank lines are skipped.

    CSV and JSON Lines are UTF-8, with a byte order mark or not, lines ended by LF or CRLF; a quoted field of CSV may
    hold line breaks. An empty or null label, caption or split says nothing. Spaces around them are dropped.

    Raises:
        UserError: the table can't be read, a column is missing, or a value is none that its column may hold.
    """
    check_suffix(path)
    wanted = {
        f"prepare.columns.{key}": name
        for key, name in (
            ("file", columns.file),
            ("label", columns.label),
            ("caption", columns.caption),
            ("split", columns.split),
        )
        if name
    }
    try:
        for number, record in _READERS[path.suffix](path, wanted):
            where = f"{path}:{number}"
            file = exact_text(record.get(columns.file), where, columns.file)
            if not file:
                raise UserError(f"{where}: {columns.file} is empty; each row has to name a file")
            label, caption, split = (
                as_text(record.get(name), where, name) if name else ""
                for name in (columns.label, columns.caption, columns.split)
            )
            yield Line(number, file, label or None, caption or None, split_called(split, where))
    except OSError as error:
        raise UserError(f"prepare.folder.table: {path} can't be read: {error.strerror or error}") from None


def check_suffix(path: Path) -> None:
    """See that a table is of a kind that is read.

    Raises:
        UserError: it isn't, by its suffix.
    """
    if path.suffix not in _READERS:
        raise UserError(f"prepare.folder.table: {path} has to end in {', '.join(_READERS)}")


def split_called(text: str, where: str) -> GivenSplit | None:
    """The part of the data that an entry of a column names; None: it is empty.

    Raises:
        UserError: it names none.
    """
    part = part_called(text)
    if text and part is None:
        raise UserError(f"{where}: the split {text!r} is unknown; allowed are train, val, test, or nothing")
    return part


def check_columns(found: Sequence[str], wanted: Mapping[str, str], where: str) -> None:
    """See that each wanted column is there, once.

    Args:
        wanted: key of params.yaml -> name of the column.

    Raises:
        UserError: it isn't.
    """
    for key, name in wanted.items():
        if found.count(name) != 1:
            state = "twice" if name in found else "not at all"
            optional = "" if key.endswith((".file", ".image")) else " (or null, where there is none)"
            raise UserError(
                f"{where}: the column {name!r} is there {state}; there are {', '.join(map(repr, found))}: "
                f"set {key}{optional}"
            )


def as_text(value: object, where: str, column: str) -> str:
    """An entry as text without spaces around it: a string, or a whole number; "": nothing.

    Raises:
        UserError: it is anything else.
    """
    return exact_text(value, where, column).strip()


def exact_text(value: object, where: str, column: str) -> str:
    """The same, spaces and all, as file names need it.

    Raises:
        UserError: it is anything else.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UserError(f"{where}: {column} is {value!a}, which is no Unicode text") from None
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{where}: {column} is {value!r}; a text, a whole number or nothing is allowed")
    return str(value)


def _decoded(path: Path) -> Iterator[str]:
    """The lines of a file of UTF-8, with their ends."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}:{number}: byte {error.start + 1} is no UTF-8; save the table as UTF-8"
                ) from None


def _csv(path: Path, wanted: Mapping[str, str]) -> Iterator[_Record]:
    reader = csv.reader(_decoded(path), strict=True)
    header: list[str] | None = None
    began = 1
    try:
        for values in reader:
            if values and header is None:
                header = values
                check_columns(header, wanted, f"{path}:{began}")
            elif values and header is not None:
                if len(values) != len(header):
                    raise UserError(f"{path}:{began}: {len(values)} fields, but the first line names {len(header)}")
                yield began, dict(zip(header, values, strict=True))
            began = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{began}: no CSV from here: {error}") from None
    if header is None:
        check_columns((), wanted, f"{path}:1")


def _jsonl(path: Path, wanted: Mapping[str, str]) -> Iterator[_Record]:
    missing = dict(wanted)
    seen: dict[str, None] = {}
    for number, line in enumerate(_decoded(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=partial(_object, f"{path}:{number}"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: no JSON: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{path}:{number}: a JSON object is expected, not {type(record).__name__}")
        check_columns(tuple(record), {key: name for key, name in wanted.items() if key == _FILE}, f"{path}:{number}")
        missing = {key: name for key, name in missing.items() if name not in record}
        seen |= dict.fromkeys(record)
        yield number, record
    # Another line may leave one of these keys out; that none has it is a mistake.
    if missing:
        check_columns(tuple(seen), missing, str(path))


def _object(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{where}: the key {twice!r} is there twice; keep one")
    return record


def _parquet(path: Path, wanted: Mapping[str, str]) -> Iterator[_Record]:
    try:
        with pq.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, wanted, str(path))
            number = 0
            for batch in file.iter_batches(columns=list(wanted.values())):
                batch.validate(full=True)
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except pa.ArrowException as error:
        raise UserError(f"{path} is no Parquet file that can be read: {' '.join(str(error).split())}") from None


_READERS: Mapping[str, Callable[[Path, Mapping[str, str]], Iterator[_Record]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
