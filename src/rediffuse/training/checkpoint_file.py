"""One checkpoint on disk: a safetensors file named by its step and by the SHA-256 of its own bytes. No pickle."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rediffuse.files import fsync_directory, sha256
from rediffuse.model import write_tensors

_NAME = re.compile(r"step-(\d{8,})-([0-9a-f]{64})\.safetensors")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = "rediffuse"


class UnusableError(Exception):
    """This file is no checkpoint to go on from. The message says why."""


@dataclass(frozen=True)
class Content:
    """What a checkpoint says beside its tensors.

    Args:
        step: optimizer steps taken.
        fingerprint: of the training it belongs to.
        snapshots: files of averages that lie beside it, each with its SHA-256.
        record: JSON values that belong to the same moment, as text.
    """

    step: int
    fingerprint: str
    snapshots: Mapping[str, str]
    record: str


def slots(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a folder with their steps, newest first."""
    named = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*.safetensors"))
    return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)


def write(folder: Path, content: Content, tensors: Mapping[str, Tensor]) -> Path:
    """Write a checkpoint; the same bytes for the same values. One rename brings the content and its digest.

    Args:
        tensors: contiguous.

    Raises:
        OSError: nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{os.getpid()}.next.safetensors"
    try:
        write_tensors(temporary, tensors, {_KEY: json.dumps(asdict(content), sort_keys=True)})
        named = folder / f"step-{content.step:08d}-{sha256(temporary)}.safetensors"
        _to_disk(temporary)
        temporary.replace(named)
        fsync_directory(folder)
    finally:
        temporary.unlink(missing_ok=True)
    return named


def reads_back(path: Path) -> bool:
    """Whether the bytes are those that the name promises."""
    match = _NAME.fullmatch(path.name)
    try:
        return match is not None and sha256(path) == match[2]
    except OSError:
        return False


def read(path: Path) -> tuple[Content, dict[str, Tensor]]:
    """What a checkpoint holds, its tensors on the CPU.

    Raises:
        UnusableError: a byte of it changed, it is no such file, or it holds what is no number.
    """
    if not reads_back(path):
        raise UnusableError(f"its {path.stat().st_size} bytes are not those of the SHA-256 in its name")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UnusableError(f"it is no safetensors file ({error})") from None
    content = _content(metadata.get(_KEY, ""))
    wrong = no_numbers(tensors)
    if wrong:
        raise UnusableError(f"{wrong[0]} holds NaN or infinity, as do {len(wrong)} of its {len(tensors)} tensors")
    return content, tensors


def no_numbers(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those in which a value is NaN or infinite."""
    return [name for name, each in tensors.items() if each.is_floating_point() and not torch.isfinite(each).all()]


def _content(text: str) -> Content:
    try:
        content = Content(**json.loads(text))
        record = json.loads(content.record)
    except (TypeError, ValueError):
        raise UnusableError("it does not say what it is a checkpoint of") from None
    sound = (
        isinstance(content.step, int)
        and content.step >= 0
        and isinstance(content.fingerprint, str)
        and isinstance(content.snapshots, dict)
        and all(_sound(name, digest) for name, digest in content.snapshots.items())
        and isinstance(record, dict)
    )
    if not sound:
        raise UnusableError("it does not say what it is a checkpoint of")
    return content


def _sound(name: str, digest: Any) -> bool:
    """Whether this names a file of one folder, and a digest."""
    return Path(name).name == name and isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None


def _to_disk(path: Path) -> None:
    """Bring a file's bytes to the disk and out of memory, so that whoever reads them back asks the disk."""
    # safetensors writes for the owner alone.
    path.chmod(0o644)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
