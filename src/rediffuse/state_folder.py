"""A folder of unfinished work that one process at a time may have; the whole folder goes when the work is done."""

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rediffuse.errors import TryAgainError, UserError

LOCK = "lock"
# Beside it: what decides the numbers of the work, so that a person can tell whose state this is.
FINGERPRINT = "fingerprint.json"

# Whoever lists the states holds a lock for an instant to see whether it is free; that must refuse nobody.
_TRIES, _PAUSE = 5, 0.02

# What waiting does not mend.
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Make the folder and keep every other process out; the kernel lets go when this one dies, however it dies.

    Raises:
        TryAgainError: another process holds it, or the disk is full.
        UserError: the folder can't be made or written.
    """
    with told(path):
        descriptor = _lock(path)
    if descriptor is None:
        raise TryAgainError(
            f"another process is training this very run (it holds {path / LOCK}); wait for it or stop it"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def in_use(path: Path) -> bool:
    """Whether a process holds the folder now."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(path: Path) -> None:
    """Remove a folder that this process has locked, lock file and all.

    It is renamed first, in one step: whoever comes now makes a new folder, and nobody finds a half-removed one.
    """
    # Not by the process's number alone: in containers each has the same, and one that was killed leaves the folder.
    path.rename(path.with_name(f".removed-{uuid.uuid4().hex}-{path.name}"))
    sweep(path.parent)


def sweep(parent: Path) -> None:
    """Remove what is renamed already; a kill inside a removal leaves it."""
    for leftover in parent.glob(".removed-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Make the folder, and find out whether files can be made in it.

    Raises:
        UserError: they can't.
        TryAgainError: the disk is full.
    """
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        try:
            probe.write_bytes(b"probe")
        finally:
            probe.unlink(missing_ok=True)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turn an OSError about this folder into one of the project's own."""
    try:
        yield
    except OSError as error:
        message = f"{folder} can't be written: {error.strerror or error}"
        if error.errno in _NOT_WRITABLE:
            raise UserError(f"{message}; it must be a folder that this user may write in") from error
        raise TryAgainError(message) from error


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None where another process does."""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        path.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            # Removed since the line before.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(descriptor, path / LOCK):
                return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None


def _same(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to the open file: a process that was done may have removed the folder meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
