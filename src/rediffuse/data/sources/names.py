"""What names say: a row's id from a file's name, and the part of the data (train, val, test) from a file's or folder's.

Names on disk are bytes, in any encoding or none; an id is text that prints on one line.
"""

import os
import re
from collections.abc import Sequence

from rediffuse.data.sources.source import GivenSplit
from rediffuse.errors import UserError

_FORMATS = "apng avif bmp dib gif heic heif j2k jfif jp2 jpe jpeg jpg jxl pbm pgm png pnm ppm tga tif tiff webp"
IMAGE_SUFFIXES = tuple(f".{name}" for name in _FORMATS.split())
"""What ends an image's file name, in lower case: more than is decoded, so that no image is passed over in silence."""

PARTS: tuple[GivenSplit, ...] = ("train", "val", "test")
"""The parts of a data set, in the order in which sources give them."""

_PART_OF: dict[str, GivenSplit] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_WORD = re.compile(rf"(?:^|[-._ ])({'|'.join(_PART_OF)})(?=[-._ 0-9]|$)", re.IGNORECASE)

# A backslash itself, so that no two names have one id; what ends or hides a line (controls, separators, direction
# marks); and bytes that are no UTF-8, which Python reads as surrogates.
_ODD = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(name: str) -> str:
    r"""A file name as printable UTF-8: a byte that is no UTF-8 becomes \xff, a new line \n, a backslash \\."""
    if name.isascii() and name.isprintable() and "\\" not in name:
        return name
    return _ODD.sub(_escape, os.fsencode(name).decode("utf-8", "surrogateescape"))


def _escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode() if point < 0x80 else f"\\u{point:04x}"


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def part_called(name: str) -> GivenSplit | None:
    """The part that a folder or an entry in a table names: train, val (valid, validation, dev) or test, in any case."""
    return _PART_OF.get(name.lower())


def part_in(path: str) -> GivenSplit | None:
    """The part in a file's name, as Hugging Face has it (train-00000-of-00003.parquet), else in its folders' names."""
    for name in reversed(path.split("/")):
        found = _WORD.findall(name)
        if found:
            return _PART_OF[found[-1].lower()]
    return None


def parts_of(paths: Sequence[str], folder: str) -> list[GivenSplit | None]:
    """The part that each file holds, by its name; None for all where they name fewer than two.

    Raises:
        UserError: some files name a part and others don't.
    """
    parts = [part_in(path) for path in paths]
    named = {part for part in parts if part}
    if len(named) < 2:
        return [None] * len(paths)
    if None in parts:
        odd, other = paths[parts.index(None)], next(path for path, part in zip(paths, parts, strict=True) if part)
        raise UserError(
            f"{folder}: {odd} names no part (train, val or test), but {other} does; "
            "choose the files to read with prepare.files"
        )
    return list(parts)
