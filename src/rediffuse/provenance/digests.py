"""The MD5 that DVC gives a file or a folder in dvc.lock."""

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

from rediffuse import files


def file_md5(path: Path) -> str:
    """Hex MD5 of a file's bytes; a file that nobody wrote to since this process asked is not read again."""
    found = path.stat()
    return _md5_of(path.absolute(), (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size))


def folder_md5s(path: Path) -> dict[str, str]:
    """Path below the folder, with slashes -> MD5, of each file in it; without __pycache__, as .dvcignore says."""
    found = (Path(folder) / name for folder, _, names in os.walk(path, followlinks=True) for name in names)
    kept = (file for file in found if file.parent.name != "__pycache__" and file.is_file())
    return {file.relative_to(path).as_posix(): file_md5(file) for file in kept}


def listing_md5(listed: dict[str, str]) -> str:
    """What DVC calls a folder of these files: the MD5 of their listing, and ".dir".

    dvc_data.hashfile.tree.Tree: a JSON list of {"md5", "relpath"}, sorted by relpath, default separators.
    """
    entries = [{"md5": listed[name], "relpath": name} for name in sorted(listed)]
    text = json.dumps(entries, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def out_md5(path: Path) -> str | None:
    """The MD5 that dvc.lock lists for an out, file or folder; None where there is neither."""
    if path.is_dir():
        return listing_md5(folder_md5s(path))
    return file_md5(path) if path.is_file() else None


@lru_cache(maxsize=4096)
def _md5_of(path: Path, stamp: tuple[int, ...]) -> str:  # noqa: ARG001 - part of what is remembered
    """The MD5 of a file that carries this stamp of the file system."""
    return files.md5(path)
