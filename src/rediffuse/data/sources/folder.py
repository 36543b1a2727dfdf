"""Folders of image files: a sub-folder a class, or images at any depth without labels."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rediffuse.data.sources import tree
from rediffuse.data.sources.labels import Classes
from rediffuse.data.sources.names import PARTS, is_image, part_called
from rediffuse.data.sources.source import About, GivenSplit, Row
from rediffuse.data.sources.tree import Entry
from rediffuse.errors import UserError

_EXPECTED = "a folder of image files for each class, or train/ and test/ with those folders inside"
_OTHERWISE = "for labels in a table set prepare.folder.labels to table, for no labels to none"

_Part = tuple[GivenSplit | None, Entry]


class Folder:
    """Class sub-folders of image files: `cat/001.png`, or `train/cat/001.png` and `test/cat/002.png`.

    A class is named by its folder; below that, files may lie at any depth. A row's id is its path below the source's.
    Rows are sorted by it bytewise, in each part; the parts are train, val, test. Hidden files (.name) and files other
    than images at the top are not looked at. Every file in a class folder makes a row, image or not.

    Args:
        classes: names and order of the classes; None: the folders' names, sorted bytewise.

    Raises:
        UserError: the folder is missing, can't be read, or holds anything that has no class.
    """

    name = "folder"
    about = About()

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        self._parts = _parts(tree.top(path, _EXPECTED))
        found = [_class_names(folder) for _, folder in self._parts]
        first = self._parts[0][1]
        for (_, folder), names in zip(self._parts, found, strict=True):
            odd = sorted(set(names) ^ set(found[0]))
            if odd:
                there, missing = (folder, first) if odd[0] in names else (first, folder)
                raise UserError(
                    f"{path}: the class {odd[0]} is in {there.id}, but not in {missing.id}; it has to be in both"
                )
        if not found[0]:
            raise UserError(f"prepare.path: {path} holds no class folders; expected is {_EXPECTED}; {_OTHERWISE}")
        self._classes = Classes(classes or found[0])
        for name in found[0]:
            self._classes.position(name, f"{path}/{first.id}{name}")
        self.classes = self._classes.names

    def __iter__(self) -> Iterator[Row]:
        for split, folder in self._parts:
            for entry in tree.inside(folder):
                if entry.is_folder:
                    label = self._classes.position(_name(entry), entry.path)
                    for file in tree.walk(entry):
                        yield file_row(file, split=split, label=label)
                elif entry.fault:
                    yield file_row(entry, split=split)


class UnlabelledFolder:
    """Images at any depth below a folder, by their suffix; with train/ and test/ alone at the top, these are parts.

    Raises:
        UserError: the folder is missing or can't be read.
    """

    name = "folder"
    about = About()
    classes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._parts = _parts(tree.top(path, "image files"))

    def __iter__(self) -> Iterator[Row]:
        for split, folder in self._parts:
            for file in tree.walk(folder):
                if is_image(file.id) or file.fault:
                    yield file_row(file, split=split)


def file_row(
    file: Entry, *, split: GivenSplit | None = None, label: int | None = None, caption: str | None = None
) -> Row:
    """The row of an image file, read.

    Raises:
        UserError: the file can't be read.
    """
    content, fault = tree.read(file)
    return Row(id=file.id, content=content, label=label, origin=file.id, caption=caption, split=split, fault=fault)


def _parts(top: Entry) -> list[_Part]:
    """The folders train/, val/ and test/ with folders inside, where there are no others; else the whole folder.

    One part alone is the whole.
    """
    entries = tree.inside(top)
    folders = [entry for entry in entries if entry.is_folder]
    loose = any(is_image(entry.id) or entry.fault for entry in entries if not entry.is_folder)
    named: dict[GivenSplit, Entry] = {}
    for folder in folders:
        part = part_called(_name(folder))
        if part is None or part in named:
            return [(None, top)]
        named[part] = folder
    if loose or not any(entry.is_folder for folder in folders for entry in tree.inside(folder)):
        return [(None, top)]
    return [(part if len(named) > 1 else None, named[part]) for part in PARTS if part in named]


def _class_names(folder: Entry) -> tuple[str, ...]:
    entries = tree.inside(folder)
    names = tuple(sorted(_name(entry) for entry in entries if entry.is_folder))
    loose = next((entry for entry in entries if not entry.is_folder and is_image(entry.id)), None)
    if names and loose:
        raise UserError(
            f"{loose.path} lies beside the class folders and so has no class; expected is {_EXPECTED}; {_OTHERWISE}"
        )
    return names


def _name(folder: Entry) -> str:
    return folder.id.rstrip("/").rpartition("/")[2]
