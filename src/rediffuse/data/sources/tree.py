"""Walking a folder: every visible file, in an order that is the same everywhere, and no way out of the folder.

Links are followed where they stay inside, or lead into DVC's cache (`cache.type symlink`). What leads out, nowhere or
round in a circle, and what is no regular file, is an entry with a fault: it is counted, never opened.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rediffuse.data.sources.names import escaped
from rediffuse.errors import UserError

_DVC_CACHE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}\Z")
_LARGEST = 1 << 30  # bytes of one image file; a column of Parquet holds twice as many
_MACOS = "__MACOSX"  # what macOS puts beside the files in a zip archive


class Entry(NamedTuple):
    """A file or folder below another folder.

    Args:
        id: its path below that folder, escaped; of a folder, ended by "/", and "" for the folder itself.
        path: its real path, links resolved.
        fault: why it is not read; "": it is.
        chain: of a folder: the real paths of all folders on the way to it, and its own; else empty.
    """

    id: str
    path: str
    fault: str = ""
    chain: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        return bool(self.chain)


def top(folder: Path, expected: str) -> Entry:
    """The folder that holds all of a source's files.

    Raises:
        UserError: there is none; `expected` says what it should hold.
    """
    if not folder.is_dir():
        raise UserError(f"prepare.path: the folder {folder} is missing; it should hold {expected}")
    path = os.path.realpath(folder)
    return Entry("", path, chain=(path,))


def inside(folder: Entry) -> list[Entry]:
    """What is visible in a folder, sorted bytewise by id.

    Raises:
        UserError: the folder can't be read.
    """
    try:
        with os.scandir(folder.path) as listing:
            entries = [_look(entry, folder) for entry in listing if not is_hidden(entry.name)]
    except OSError as error:
        raise UserError(f"{error.filename or folder.path} can't be read: {error.strerror}") from None
    # Code points sort as their UTF-8 bytes do.
    return sorted(entries)


def is_hidden(name: str) -> bool:
    """Whether a name in a folder is passed over: `.name`, and what macOS adds to archives."""
    return name.startswith(".") or name == _MACOS


def walk(folder: Entry) -> Iterator[Entry]:
    """Every file at any depth below a folder, and every entry with a fault, sorted bytewise by id."""
    for entry in inside(folder):
        if entry.is_folder:
            yield from walk(entry)
        else:
            yield entry


def read(entry: Entry) -> tuple[bytes, str]:
    """The bytes of a file and its fault: there is one, or there are bytes. Never waits for a pipe.

    Raises:
        UserError: it can't be read.
    """
    if entry.fault:
        return b"", entry.fault
    try:
        # Without O_NONBLOCK a file that became a pipe since it was listed would make this wait for ever.
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{entry.path} can't be read: it is no regular file any more")
            if status.st_size > _LARGEST:
                return b"", f"larger than {_LARGEST >> 30} GiB"
            content = os.read(descriptor, status.st_size + 1)
            while len(content) < status.st_size and (more := os.read(descriptor, status.st_size)):
                content += more
            return content, ""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"{entry.path} can't be read: {error.strerror}") from None


def _look(found: "os.DirEntry[str]", folder: Entry) -> Entry:
    """What a name in a folder stands for."""
    name = folder.id + escaped(found.name)
    path, fault = found.path, ""
    if found.is_symlink():
        path, fault = _target(found.path, folder.chain[0])
        if fault:
            return Entry(name, path, fault)
        mode = Path(path).stat().st_mode
        is_folder, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
    else:
        is_folder, is_file = found.is_dir(follow_symlinks=False), found.is_file(follow_symlinks=False)
    if is_folder and path in folder.chain:
        return Entry(name, path, "a link back to a folder that it lies in")
    if is_folder:
        return Entry(name + "/", path, chain=(*folder.chain, path))
    return Entry(name, path, "" if is_file else "no regular file, but a pipe, a socket or a device")


def _target(link: str, root: str) -> tuple[str, str]:
    """Where a link leads, and what is wrong with that."""
    try:
        target = os.path.realpath(link, strict=True)
    except PermissionError:
        raise
    except OSError as error:
        return link, "a link round in a circle" if error.errno == errno.ELOOP else "a link to nothing"
    stays = target == root or target.startswith(root.rstrip("/") + "/") or _DVC_CACHE.search(target)
    return target, "" if stays else "a link out of the folder"
