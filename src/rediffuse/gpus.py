"""One process a GPU: a lock file for each in a folder of the machine, which the kernel frees however the process dies.

The workers of `dvc queue start -j 4` know nothing of each other, and all would take the first GPU.
"""

import fcntl
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rediffuse.errors import UserError

_LOOK_EVERY = 0.5  # seconds between two looks for a free one

# What this process holds, by name, for as long as it lives.
_held: dict[str, int] = {}


def take(names: Sequence[str], count: int = 1) -> list[int]:
    """The places in `names` of `count` GPUs that are this process's alone, the first ones that are free.

    Args:
        names: the GPUs that this process sees, each under a name that every process of the machine calls it by.
        count: 1 to len(names). While fewer are free, the process holds no new one and waits; it says so once on stderr.

    What this process holds already counts, and is given again. It holds them until it ends; a process that it forks
    holds them with it.

    Raises:
        UserError: the folder of lock files can't be used.
    """
    if not 1 <= count <= len(names):
        raise ValueError(f"{count} of {len(names)} GPUs")
    told = False
    with _folder() as folder:
        while busy := _lock_missing(folder, names, count):
            if not told:
                users = ", ".join(_user(folder, name) for name in busy)
                wanted = f"one of the {len(names)} GPUs" if count == 1 else f"{count} of the {len(names)} GPUs"
                sys.stderr.write(f"waits for {wanted if len(names) > 1 else 'the GPU'}; in use by {users}\n")
                sys.stderr.flush()
                told = True
            time.sleep(_LOOK_EVERY)
    return [place for place, name in enumerate(names) if name in _held][:count]


def _lock_missing(folder: int, names: Sequence[str], count: int) -> list[str]:
    """Lock what is missing from `count`, all or none; gives those that others hold, where too few are free."""
    missing = count - sum(name in _held for name in names)
    new: dict[str, int] = {}
    busy: list[str] = []
    try:
        # One process at a time looks, or two that want two each could for ever take one each.
        turn = _locked(folder, "turn", wait=True)
        try:
            for name in names:
                if len(new) < missing and name not in _held:
                    descriptor = _locked(folder, name, wait=False)
                    if descriptor is None:
                        busy.append(name)
                    else:
                        new[name] = descriptor
        finally:
            if turn is not None:
                os.close(turn)
        if len(new) < missing:
            return busy
        for descriptor in new.values():
            os.pwrite(descriptor, f"{os.getpid():<20}\n".encode(), 0)
        _held.update(new)
        new = {}
        return []
    finally:
        for descriptor in new.values():
            os.close(descriptor)


def _locked(folder: int, name: str, *, wait: bool) -> int | None:
    """The descriptor of a file that this process has locked, or None where another has."""
    descriptor = _open(folder, f"{name}.lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _path() -> Path:
    return Path(tempfile.gettempdir()) / "rediffuse-gpus"


@contextmanager
def _folder() -> Iterator[int]:
    """A descriptor of the folder, which every user of the machine may write to, and only its own files remove from."""
    path = _path()
    try:
        try:
            path.mkdir()
            path.chmod(0o1777)
        except FileExistsError:
            pass
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise UserError(f"{path}, where the locks of the GPUs are, can't be used: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(folder: int, name: str) -> int:
    """A descriptor of a regular file with this very name and no other, new or as it is."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            # Where it is there already, not with O_CREAT: kernels refuse that for another user's file in such a folder.
            descriptor = os.open(name, flags, dir_fd=folder)
        except FileNotFoundError:
            try:
                descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
                os.fchmod(descriptor, 0o666)
            except FileExistsError:
                descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise UserError(f"{_path() / name}, a lock of the GPUs, can't be opened: {error.strerror}; remove it") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise UserError(f"{_path() / name}, a lock of the GPUs, is no file of its own; remove it")
    return descriptor


def _user(folder: int, name: str) -> str:
    """Who wrote last that it holds a GPU that is in use."""
    descriptor = _open(folder, f"{name}.lock")
    try:
        number = os.pread(descriptor, 20, 0).strip()
    finally:
        os.close(descriptor)
    return f"process {number.decode()}" if number.isdigit() else "a process"
