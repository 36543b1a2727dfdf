"""WebDataset: tars of samples, each a few files that follow each other and share a name up to its first dot."""

import gzip
import json
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from rediffuse.data.sources.containers import Container, containers
from rediffuse.data.sources.labels import Classes, sorted_names
from rediffuse.data.sources.names import escaped, is_image
from rediffuse.data.sources.source import About, Row
from rediffuse.data.sources.table import as_text, split_called
from rediffuse.errors import UserError
from rediffuse.params import PrepareParams

_READ_TEXT = ("cls", "txt", "json")
_LARGEST = 1 << 30  # bytes of one file in a sample
_BLOCK = tarfile.BLOCKSIZE


@dataclass(slots=True)
class _Sample:
    key: str
    image: str = ""  # the name of the image's file
    content: bytes = b""
    fault: str = ""
    texts: dict[str, str] = field(default_factory=dict)  # of cls, txt and json


class WebDataset:
    """One tar, or all of a folder that match a glob, gzipped or not; nothing is ever unpacked to disk.

    A sample is an image (`.png`, `.jpg`, ...) with, if there is one, its label as number or name in `.cls`, else in
    `.json`; its caption in `.txt`, else in `.json`; and its part in `.json`, else in the tar's name. Other files are
    not looked at. Tars come in the order train, val, test, where their names say so; inside a tar, samples keep theirs.
    The class names are those of prepare.classes, else the labels found. A row's id is `TAR#KEY`.

    Raises:
        UserError: a tar is missing, damaged or cut off, a sample has no image, two, or texts that can't be read.
    """

    name = "webdataset"
    about = About()

    def __init__(self, path: Path, section: PrepareParams) -> None:
        self._columns = section.columns
        self._files = containers(path, section.files, (".tar", ".tar.gz", ".tgz"))
        found = section.classes or sorted_names(
            label
            for file in self._files
            for sample in _samples(file, images=False)
            if (label := self._label(file, sample))
        )
        self._classes = Classes(found)
        self.classes = self._classes.names

    def __iter__(self) -> Iterator[Row]:
        for file in self._files:
            for sample in _samples(file, images=True):
                where = _where(file, sample)
                label, record = self._label(file, sample), self._record(file, sample)
                caption, split = (
                    as_text(record.get(name), where, name) if name else ""
                    for name in (self._columns.caption, self._columns.split)
                )
                yield Row(
                    id=f"{file.id}#{escaped(sample.key)}",
                    content=sample.content,
                    label=self._classes.position(label, where) if label else None,
                    origin=f"{file.id}#{escaped(sample.image)}",
                    caption=as_text(sample.texts.get("txt"), where, ".txt") or caption or None,
                    split=split_called(split, where) or file.part,
                    fault=sample.fault,
                )

    def _label(self, file: Container, sample: _Sample) -> str:
        """The label as text; "": none."""
        column, where = self._columns.label, _where(file, sample)
        if "cls" in sample.texts or not column:
            return as_text(sample.texts.get("cls"), where, ".cls")
        return as_text(self._record(file, sample).get(column), where, column)

    def _record(self, file: Container, sample: _Sample) -> dict[str, object]:
        if "json" not in sample.texts:
            return {}
        try:
            record = json.loads(sample.texts["json"])
        except (ValueError, RecursionError) as error:
            raise UserError(f"{_where(file, sample)}: its .json is no JSON: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{_where(file, sample)}: its .json is no object, but {type(record).__name__}")
        return record


def _where(file: Container, sample: _Sample) -> str:
    return f"{file.path}: sample {escaped(sample.key)}"


def _samples(file: Container, *, images: bool) -> Iterator[_Sample]:
    """The samples of a tar in their order.

    Args:
        images: read them, too.
    """
    sample: _Sample | None = None
    for member, tar in _members(file):
        folder, name = posixpath.split(member.name)
        stem, _, kind = name.partition(".")
        kind = kind.lower()
        # As in the webdataset package: a file without a stem or without a dot belongs to no sample.
        if not stem or not kind or member.isdir():
            continue
        key = posixpath.join(folder, stem)
        if sample is None or sample.key != key:
            if sample:
                yield _complete(file, sample)
            sample = _Sample(key)
        if is_image(member.name):
            if sample.image:
                raise UserError(f"{_where(file, sample)}: two images, {sample.image} and {member.name}; one is allowed")
            sample.image = member.name
            if not member.isreg():
                sample.fault = "no regular file in the tar, but a link or a device"
            elif member.size > _LARGEST:
                sample.fault = f"larger than {_LARGEST >> 30} GiB"
            elif images:
                sample.content = _read(file, tar, member)
        elif kind in _READ_TEXT and member.isreg():
            if member.size > _LARGEST:
                raise UserError(f"{_where(file, sample)}: its .{kind} is larger than {_LARGEST >> 30} GiB")
            try:
                sample.texts[kind] = _read(file, tar, member).decode("utf-8-sig")
            except UnicodeDecodeError:
                raise UserError(f"{_where(file, sample)}: its .{kind} is no UTF-8") from None
    if sample:
        yield _complete(file, sample)


def _complete(file: Container, sample: _Sample) -> _Sample:
    if not sample.image:
        raise UserError(
            f"{_where(file, sample)}: no image among its files; each sample needs one, and its files "
            "(KEY.png, KEY.cls, ...) have to follow each other"
        )
    return sample


def _members(file: Container) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """What a tar holds, one after the other, whatever their number in little memory.

    Raises:
        UserError: it is no tar, damaged or cut off.
    """
    with _refused(file), _stream(file.path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        while (member := tar.next()) is not None:
            yield member, tar
            # tarfile would remember them all.
            tar.members.clear()  # type: ignore[attr-defined]
        # tarfile takes a tar that is cut off between two files, or broken there, for one that ends.
        stream.seek(tar.offset)
        if stream.read(_BLOCK) != bytes(_BLOCK):
            raise UserError(f"{file.path} is damaged or cut off: it lacks the mark at its end")
        while rest := stream.read(1 << 20):
            if rest.strip(b"\0"):
                raise UserError(f"{file.path} goes on after the mark at its end; several tars in one are not read")


@contextmanager
def _refused(file: Container) -> Iterator[None]:
    """A tar that is none, damaged or cut off as a mistake of the user's."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file.path} is no tar that can be read: {error}") from None


def _stream(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix in (".gz", ".tgz") else path.open("rb")


def _read(file: Container, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    # What is raised here, while _members waits, does not pass through it.
    with _refused(file):
        content = tar.extractfile(member)
        assert content is not None  # it is a regular file
        return content.read()
