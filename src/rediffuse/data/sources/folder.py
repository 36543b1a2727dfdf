"""A folder with one sub-folder a class, each full of image files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rediffuse.data.sources.source import About, GivenSplit, Row
from rediffuse.errors import UserError

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_ALLOWED = "a folder of image files for each class, or train/ and test/ with those folders inside"


class Folder:
    """Class sub-folders of image files: `cat/001.png`, or `train/cat/001.png` and `test/cat/002.png`.

    A class is named by its folder; names are sorted. A row's id is its path below the source's. Hidden files (.name)
    and files other than images at the top are not looked at. Every file in a class folder makes a row, image or not.

    Raises:
        UserError: the folder is missing, can't be read, or holds anything that has no class.
    """

    name = "folder"
    about = About()

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UserError(f"prepare.path: the folder {path} is missing; it should hold {_ALLOWED}")
        self._root = path
        self._tops: Sequence[tuple[GivenSplit | None, Path]] = [(None, path)]
        names = _class_names(path)
        if names == ("test", "train"):
            train, test = _class_names(path / "train"), _class_names(path / "test")
            if train or test:
                odd = sorted(set(train) ^ set(test))
                if odd:
                    has = "train" if odd[0] in train else "test"
                    raise UserError(
                        f"{path}: the class {odd[0]} is in {has}/ only; it has to be in train/ and in test/"
                    )
                self._tops = [("train", path / "train"), ("test", path / "test")]
                names = train
        if not names:
            raise UserError(f"prepare.path: {path} holds no class folders; expected is {_ALLOWED}")
        self.classes: tuple[str, ...] = tuple(_escaped(name) for name in names)
        self._names = names

    def __iter__(self) -> Iterator[Row]:
        for split, top in self._tops:
            for label, name in enumerate(self._names):
                for file in _visible(top / name):
                    where = _escaped(file.relative_to(self._root).as_posix())
                    yield Row(id=where, content=_content(file), label=label, split=split, origin=where)


def _class_names(folder: Path) -> tuple[str, ...]:
    entries = _visible(folder)
    names = tuple(entry.name for entry in entries if entry.is_dir())
    loose = [entry for entry in entries if not entry.is_dir() and entry.suffix.lower() in _IMAGE_SUFFIXES]
    if names and loose:
        raise UserError(f"{loose[0]} lies beside the class folders and so has no class; expected is {_ALLOWED}")
    return names


def _visible(folder: Path) -> list[Path]:
    """What is not hidden in a folder, sorted by name."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} can't be read: {error.strerror}") from None


def _content(file: Path) -> bytes:
    # Opening a pipe would wait for ever, and a folder in a class folder is a layout this source would misread.
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "no regular file"
        raise UserError(f"{file} is {kind}, in a class folder; expected is {_ALLOWED}")
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror}") from None


def _escaped(name: str) -> str:
    """A file name as UTF-8 text: names on disk are bytes, and Parquet takes only text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
