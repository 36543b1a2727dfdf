"""Files that hold many images each: which ones there are, in which order, and the part of the data each one holds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rediffuse.data.sources import tree
from rediffuse.data.sources.names import PARTS, escaped, parts_of
from rediffuse.data.sources.source import GivenSplit
from rediffuse.errors import UserError


@dataclass(frozen=True, slots=True)
class Container:
    """One such file.

    Args:
        id: its path below the source's, escaped.
        path: to open.
        part: of the data, by the file's name; None where fewer than two parts are named.
    """

    id: str
    path: Path
    part: GivenSplit | None


def containers(path: Path, pattern: str, suffixes: Sequence[str]) -> list[Container]:
    """The file at `path`, or those below it that match a glob, by part (train, val, test), then bytewise by id.

    Args:
        path: prepare.path.
        pattern: prepare.files; `*` stands for anything but "/", `**` for that too, `{a,b}` for either, `?` for one
            character, in braces as well. Hidden files are not looked at.
        suffixes: which files count.

    Raises:
        UserError: there is none, one leads out of the folder, or only some files name a part.
    """
    if path.is_file():
        return [Container(escaped(path.name), path, None)]
    matching = _glob(pattern)
    found = []
    for entry in tree.walk(tree.top(path, f"files that end in {' or '.join(suffixes)}")):
        if entry.id.endswith(tuple(suffixes)) and matching.fullmatch(entry.id):
            if entry.fault:
                raise UserError(f"{path}: {entry.id} is {entry.fault}")
            found.append(entry)
    if not found:
        raise UserError(
            f"prepare.path: {path} holds no file that ends in {' or '.join(suffixes)} and matches "
            f"prepare.files ({pattern!r})"
        )
    parts = parts_of([entry.id for entry in found], str(path))
    listed = [Container(entry.id, Path(entry.path), part) for entry, part in zip(found, parts, strict=True)]
    return sorted(listed, key=lambda container: PARTS.index(container.part) if container.part else 0)


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(_translated(pattern), re.DOTALL)


def _translated(pattern: str) -> str:
    """A glob as a regular expression."""
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\{[^{}]*\}|\*\*/|\*\*|\*|\?)", pattern)
    return "".join(
        f"(?:{'|'.join(map(_translated, token[1:-1].split(',')))})"
        if token.startswith("{") and token.endswith("}")
        else meaning.get(token) or re.escape(token)
        for token in tokens
    )
