"""Files written whole or not at all, and their digests."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, fsync it and rename it over `path`.

    A reader sees the old bytes or the new ones, never a part, also after a kill or a power cut. Where the old file is
    a read-only hard link into DVC's cache, the link is replaced and the cache is left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        # safetensors writes for the owner alone.
        temporary.chmod(0o644)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        fsync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def fsync_directory(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Make `folder` hold files of these names and contents, each replaced as by `write_bytes`, and no others."""
    for stale in folder.glob("*"):
        if stale.name not in contents:
            stale.unlink()
    for name, content in contents.items():
        write_bytes(folder / name, content)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON with sorted keys, the same bytes for the same value; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_bytes())


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    return _digest(path, "sha256")


def md5(path: Path) -> str:
    """Hex MD5 of a file's bytes: the name DVC gives it in dvc.lock."""
    return _digest(path, "md5")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
