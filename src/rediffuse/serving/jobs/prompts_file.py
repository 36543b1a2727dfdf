"""A file of prompts: CSV with a header, a request a row, every cell checked before anything is drawn."""

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rediffuse.serving.request import ImageRequest, parsed
from rediffuse.serving.wanted import NotAllowedError

MOST_BYTES = 64 * 2**20
MOST_ROWS = 100_000

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


class PromptsFileError(ValueError):
    """One line: which file, line and column, what was found, and what is allowed.

    Args:
        column: where one cell alone is wrong.
    """

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True)
class PromptsFile:
    """The rows of a file.

    Args:
        name: of the file, for errors.
        requests: one a row.
        lines: of the file, from 1, where each row begins.
    """

    name: str
    requests: tuple[ImageRequest, ...]
    lines: tuple[int, ...]

    def place(self, row: int, column: str) -> str:
        """Where a row's cell stands, for an error."""
        return f"{self.name}, line {self.lines[row]}, column {column}"


def read_prompts(content: bytes, name: str, most_rows: int = MOST_ROWS) -> PromptsFile:
    """The requests of a file's bytes.

    Args:
        content: UTF-8, with a byte-order mark or without; the columns are some of `COLUMNS`, in any order. An empty
            cell is not given, an empty line no row.
        name: of the file, for errors.
        most_rows: that it may have.

    Raises:
        PromptsFileError: at the first cell that can't be used.
    """
    if len(content) > MOST_BYTES:
        raise PromptsFileError(f"{name} has {len(content)} bytes; at most {MOST_BYTES} are allowed")
    rows = _rows(_text(content, name), name)
    _, header = next(rows, (0, []))
    columns = _columns(header, name)
    requests, lines = [], []
    for line, cells in rows:
        if len(requests) == most_rows:
            raise PromptsFileError(f"{name}, line {line}: at most {most_rows} rows are allowed")
        if len(cells) != len(columns):
            raise PromptsFileError(
                f"{name}, line {line}: {len(cells)} cells; the header has {len(columns)} columns (a cell with a comma "
                'stands in "quotes")'
            )
        requests.append(_request(dict(zip(columns, cells, strict=True)), f"{name}, line {line}"))
        lines.append(line)
    if not requests:
        raise PromptsFileError(f"{name} has no row below its header; at least one is needed")
    return PromptsFile(name, tuple(requests), tuple(lines))


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PromptsFileError(f"{name}, line {line}: byte {error.start} is not UTF-8, as it must be") from None


def _rows(text: str, name: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Each row that is not empty, and the line on which it begins: a quoted cell may hold line breaks."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise PromptsFileError(f"{name}, line {line}: not CSV: {error}") from None
        if cells:
            yield line, cells


def _columns(header: Sequence[str], name: str) -> list[str]:
    columns = [cell.strip() for cell in header]
    allowed = f"allowed are {', '.join(COLUMNS)}, separated by commas"
    if not columns:
        raise PromptsFileError(f"{name} is empty; it needs a header with at least one column: {allowed}")
    for column in columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise PromptsFileError(f"{name}, line 1: no column is called {column!r}{meant}; {allowed}")
        if columns.count(column) > 1:
            raise PromptsFileError(f"{name}, line 1: the column {column} is there twice; once is allowed")
    return columns


def _request(cells: dict[str, str], place: str) -> ImageRequest:
    given = {}
    for column, cell in cells.items():
        if cell.strip():
            try:
                given[column] = COLUMNS[column](cell.strip())
            except ValueError as error:
                raise PromptsFileError(f"{place}, column {column}: {error}", column) from None
    try:
        return parsed(given)
    except NotAllowedError as error:
        raise PromptsFileError(f"{place}, column {error.field}: {error}", error.field) from None


def _whole(cell: str) -> int:
    if not _WHOLE.fullmatch(cell):
        raise ValueError(f"{_short(cell)} is no whole number of 64 bits, such as 7")
    return int(cell)


def _number(cell: str) -> float:
    if not _NUMBER.fullmatch(cell):
        raise ValueError(f"{_short(cell)} is no number, such as 1.5")
    return float(cell)


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:39]}…")


COLUMNS: dict[str, Callable[[str], Any]] = {
    "prompt": str,
    "label": str,
    "seed": _whole,
    "index": _whole,
    "count": _whole,
    "to_seed": _whole,
    "share": _number,
    "steps": _whole,
    "sampler": str,
    "guidance": _number,
    "temperature": _number,
}
"""The columns that a file may have, each with what reads its cells."""
