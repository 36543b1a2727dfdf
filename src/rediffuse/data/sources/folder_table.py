"""A folder of image files, with a table that names them and gives labels, captions and splits."""

import os
import posixpath
import unicodedata
from array import array
from collections.abc import Iterator
from pathlib import Path

from rediffuse.data.sources import tree
from rediffuse.data.sources.folder import file_row
from rediffuse.data.sources.labels import Classes, sorted_names
from rediffuse.data.sources.names import PARTS, escaped, is_image
from rediffuse.data.sources.source import About, Row
from rediffuse.data.sources.table import Line, read_table
from rediffuse.errors import UserError
from rediffuse.params import PrepareParams

_NONE = -1


class TableFolder:
    """Images at any depth below a folder, and a table below it as well.

    An image that the table doesn't name makes a row without label, caption and split; a file that it names makes one,
    image or not. Rows are sorted bytewise by id (the path below the source's), in each part; the parts are train, val,
    test, then what has none.

    Raises:
        UserError: a mistake in the table, by its line: a file that isn't there or is named twice, a label that is none
            of prepare.classes, a missing column, or what can't be read.
    """

    name = "folder"
    about = About()

    def __init__(self, path: Path, section: PrepareParams) -> None:
        self._top = tree.top(path, f"images and the table {section.folder.table}")
        self._table = path / section.folder.table
        # Columns and not rows: a million of them have to fit into memory.
        self._index: dict[str, int] = {}
        self._captions: list[str | None] = []
        self._splits, self._numbers = array("b"), array("q")
        labels, codes = array("q"), dict[str, int]()
        first_lines: list[int] = []
        folder = posixpath.dirname(section.folder.table)
        for line in read_table(self._table, section.columns):
            self._add(line, folder)
            labels.append(_NONE if line.label is None else codes.setdefault(line.label, len(codes)))
            if len(codes) > len(first_lines):
                first_lines.append(line.number)
        classes = Classes(section.classes or sorted_names(codes))
        position = [
            classes.position(name, f"{self._table}:{line}") for name, line in zip(codes, first_lines, strict=True)
        ]
        self._labels = array("q", (_NONE if code == _NONE else position[code] for code in labels))
        self.classes = classes.names
        self._check_files()

    def __iter__(self) -> Iterator[Row]:
        present = set(self._splits)
        # One walk a part: a walk costs less than all paths in memory.
        for part in (*(i for i in range(len(PARTS)) if i in present), _NONE):
            for entry in tree.walk(self._top):
                row = self._index.get(entry.id, _NONE)
                split = _NONE if row == _NONE else self._splits[row]
                if split != part:
                    continue
                if row != _NONE:
                    yield file_row(
                        entry,
                        split=None if split == _NONE else PARTS[split],
                        label=None if self._labels[row] == _NONE else self._labels[row],
                        caption=self._captions[row],
                    )
                elif is_image(entry.id) or entry.fault:
                    yield file_row(entry)

    def _add(self, line: Line, folder: str) -> None:
        where = f"{self._table}:{line.number}"
        relative = posixpath.normpath(posixpath.join(folder, line.file))
        if relative.startswith(("../", "/")) or relative == "..":
            raise UserError(f"{where}: {line.file} leads out of {self._top.path}; name a file below it")
        key = "/".join(escaped(part) for part in relative.split("/"))
        row = self._index.setdefault(key, len(self._splits))
        if row < len(self._splits):
            raise UserError(f"{where}: {line.file} is named again, first on line {self._numbers[row]}; keep one row")
        self._splits.append(_NONE if line.split is None else PARTS.index(line.split))
        self._numbers.append(line.number)
        self._captions.append(line.caption)

    def _check_files(self) -> None:
        """See that every file that the table names is there."""
        missing = bytearray(b"\x01") * len(self._splits)
        for entry in tree.walk(self._top):
            row = self._index.get(entry.id)
            if row is not None:
                missing[row] = 0
        row = missing.find(1)
        if row == -1:
            return
        file = next(key for key, i in self._index.items() if i == row)
        where = f"{self._table}:{self._numbers[row]}"
        if any(map(tree.is_hidden, file.split("/"))):
            raise UserError(f"{where}: {file} is hidden (by a dot, or in __MACOSX), and hidden files are not read")
        # Not Path.is_dir, which raises for a name that is too long.
        if os.path.isdir(f"{self._top.path}/{file}"):  # noqa: PTH112
            raise UserError(f"{where}: {file} is a folder; name a file")
        close = next((entry.id for entry in tree.walk(self._top) if _loosely(entry.id) == _loosely(file)), None)
        hint = f"; did you mean {close}?" if close else ""
        raise UserError(f"{where}: the file {file} is not below {self._top.path}{hint}")


def _loosely(name: str) -> str:
    """A name without what most often differs by mistake: case, separators, the form of accents."""
    return unicodedata.normalize("NFC", name.replace("\\\\", "/").casefold())
