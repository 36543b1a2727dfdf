"""Results of a function over items, kept on disk by the content they were made of, so that a killed stage goes on.

Each result is a folder KEY.DIGEST: the key is a hash of all that decides the result, and the digest is over the files
in it. A result appears by one rename, so it is whole or not there. What a power cut tore or a disk flipped no longer
matches its digest and is computed again; nothing needs to be synced for that. Several processes may use one cache.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from rediffuse import files
from rediffuse.data.engines.engine import Engine

T = TypeVar("T")

_LOCK = ".lock"
_WEEK = 7 * 24 * 3600


class Cache:
    """One folder of results; `opened` gives it."""

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self._folder = folder
        self._keep = keep

    def results(
        self,
        engine: Engine,
        function: Callable[[T, Path], None],
        items: Sequence[T],
        key: Callable[[T], str],
        done: Callable[[T], object] = lambda _: None,
    ) -> list[Path]:
        """The folder of each item's result, in the order of the items; computes those that are not there intact.

        Args:
            engine: runs the function.
            function: `function(item, folder)` writes files into an empty folder; picklable, as for `Engine.map`.
            items: with the same key, the same result.
            key: a name for a file, best a hash of the item's content, of the parameters and of the function's version.
            done: called once for each item when its result is there.
        """
        keys = [key(item) for item in items]
        kept = self._intact(set(keys))
        missing: dict[str, T] = {}
        for name, item in zip(keys, items, strict=True):
            if name in kept or name in missing:
                done(item)
            else:
                missing[name] = item
        made = engine.map(partial(_make, function, self._folder), list(missing.items()))
        for (name, item), path in zip(missing.items(), made, strict=True):
            kept[name] = path
            done(item)
        return [kept[name] for name in keys]

    def _intact(self, keys: set[str]) -> dict[str, Path]:
        """The results of these keys that are there, by key; damaged ones are removed."""
        found: dict[str, Path] = {}
        for key, path in _entries(self._folder):
            if key not in keys:
                continue
            try:
                if path.name == _name(key, path):
                    os.utime(path)
                    found[key] = path
                    continue
            except FileNotFoundError:
                pass  # another process found the damage first
            shutil.rmtree(path, ignore_errors=True)
        return found

    def _forget(self) -> None:
        oldest = time.time() - _WEEK
        for _, path in _entries(self._folder):
            if not self._keep or path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob(".*.part"):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def opened(folder: Path, *, keep: bool = True) -> Iterator[Cache]:
    """The cache in a folder, which is made where it is missing.

    Args:
        folder: on a file system with locks.
        keep: whether results outlive the block; without it they are there for a run that is killed in it.

    When the block ends well and no other process uses the cache, results that nothing used for a week are removed
    (all, unless they are kept), and so is what killed processes left half done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        cache = Cache(folder, keep=keep)
        yield cache
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            cache._forget()


def _make(function: Callable[[T, Path], None], folder: Path, named: tuple[str, T]) -> Path:
    """Compute one result, in a worker."""
    key, item = named
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".", suffix=".part"))
    try:
        temporary.chmod(0o755)
        function(item, temporary)
        path = folder / _name(key, temporary)
        try:
            temporary.rename(path)
        except OSError:
            # Another process was faster: the name says that it holds the same bytes.
            if not path.is_dir():
                raise
        return path
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        key, dot, _ = path.name.rpartition(".")
        if dot and not path.name.startswith("."):
            yield key, path


def _name(key: str, folder: Path) -> str:
    """The key, and the SHA-256 over each file's name and SHA-256."""
    content = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        content.update(f"{file.name}\0{files.sha256(file)}\0".encode())
    return f"{key}.{content.hexdigest()}"
