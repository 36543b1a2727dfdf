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
    Rows are sorted by it bytewise, in each part; the parts are train, val, test, then what can't be read beside them.
    Hidden files (.name) and files other than images at the top are not looked at. Every file in a class folder makes a
    row, image or not.

    Args:
        classes: names and order of the classes; None: the folders' names, sorted bytewise. Where train/ and test/ are
            classes and no parts, they are among them.

    Raises:
        UserError: the folder is missing, can't be read, holds anything that has no class, or folders that may be parts
            or classes.
    """

    name = "folder"
    about = About()

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        self._parts, self._faults = _parts(tree.top(path, _EXPECTED), classes, labelled=True)
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
        yield from map(file_row, self._faults)


class UnlabelledFolder:
    """Images at any depth below a folder, by their suffix; where train/ and test/ lie at the top, these are parts.

    Raises:
        UserError: the folder is missing, can't be read, or holds more beside its parts.
    """

    name = "folder"
    about = About()
    classes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._parts, self._faults = _parts(tree.top(path, "image files"), labelled=False)

    def __iter__(self) -> Iterator[Row]:
        for split, folder in self._parts:
            for file in tree.walk(folder):
                if is_image(file.id) or file.fault:
                    yield file_row(file, split=split)
        yield from map(file_row, self._faults)


def file_row(
    file: Entry, *, split: GivenSplit | None = None, label: int | None = None, caption: str | None = None
) -> Row:
    """The row of an image file, read.

    Raises:
        UserError: the file can't be read.
    """
    content, fault = tree.read(file)
    return Row(id=file.id, content=content, label=label, origin=file.id, caption=caption, split=split, fault=fault)


def _parts(top: Entry, classes: Sequence[str] | None = None, *, labelled: bool) -> tuple[list[_Part], list[Entry]]:
    """The folders train/, val/ and test/, and what can't be read beside them; else the whole folder, and nothing.

    One part alone is the whole. Where two are named, nothing may lie beside them that would then be left out.

    Args:
        classes: prepare.classes; folders that are called as classes are no parts.
        labelled: parts hold a folder for each class.

    Raises:
        UserError: whether folders are parts is not clear.
    """
    entries = tree.inside(top)
    faults = [entry for entry in entries if entry.fault]
    folders = [entry for entry in entries if entry.is_folder]
    images = [entry for entry in entries if not entry.is_folder and not entry.fault and is_image(entry.id)]
    named = [(part, folder) for part in PARTS for folder in folders if part_called(_name(folder)) == part]
    beside = [folder for folder in folders if part_called(_name(folder)) is None] + images
    deep = any(entry.is_folder for _, folder in named for entry in tree.inside(folder))
    if not named or (classes and {_name(folder) for _, folder in named} <= set(classes)):
        return [(None, top)], []
    if len(named) == 1 and (beside or (labelled and not deep)):
        return [(None, top)], []
    lost = next((entry for entry in faults if part_called(entry.id)), None)
    if lost:
        raise UserError(f"{top.path}: {lost.id}, which should be a part beside {named[0][1].id}, is {lost.fault}")
    if len(named) == 1:
        return [(None, named[0][1])], faults
    called = [folder.id for _, folder in named]
    listed = f"{top.path}: {', '.join(called[:-1])} and {called[-1]}"
    otherwise = "; if they are classes, list them in prepare.classes" if labelled else ""
    if beside:
        raise UserError(f"{listed} are parts, but {beside[0].id} lies beside them; move it away{otherwise}")
    if len({part for part, _ in named}) < len(named):
        raise UserError(f"{listed} are parts, but two of them are the same one; keep one folder a part{otherwise}")
    if labelled and not deep:
        raise UserError(f"{listed} are parts, but hold no class folders; {_OTHERWISE}{otherwise}")
    return list(named), faults


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
