"""What DVC takes for granted: the MD5 of a file that seems unchanged, and the bytes in its cache."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Memory:
    """Two questions to DVC.

    Args:
        believed: the MD5 that it remembers of an unchanged file; None of one that it sees to be another.
        blob: where its cache keeps an MD5.
    """

    believed: Callable[[Path], str | None]
    blob: Callable[[str], Path]


def memory_of_dvc(root: Path) -> Memory:
    """What the DVC of this checkout remembers."""
    # A second's import, for what hardly ever happens.
    from dvc.fs import localfs
    from dvc.repo import Repo

    repo: Any = Repo(str(root))

    def believed(path: Path) -> str | None:
        _, found = repo.state.get(str(path.absolute()), localfs)
        return None if found is None else str(found.value)

    return Memory(believed, lambda md5: Path(repo.cache.local.oid_to_path(md5)))
