"""The training state on disk: safetensors named by its own SHA-256, written whole or not at all, no pickle.

A folder holds one run's state. A new checkpoint is written beside the old one, renamed into place and read back; only
then the old one goes. So a kill at any moment leaves at least one that reads back. A byte that flipped on the disk no
longer matches the digest in the name, and the checkpoint before it, if there is one, is taken. Snapshots of the
averages lie in a folder beside; a checkpoint of which one is missing or spoilt is passed over as well.
"""

import fcntl
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from rediffuse.errors import TryAgainError
from rediffuse.files import fsync_directory, replacing, sha256
from rediffuse.model import Description, save_model
from rediffuse.snapshots import Snapshot
from rediffuse.training.tensors import restore, tensors_of
from rediffuse.training.trainer import TrainingState

_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{64})\.safetensors")


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        path: a folder of this run alone.
    """

    path: Path

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots taken so far."""
        return self.path / "snapshots"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out; the kernel lets go of the lock when this one dies, however it dies.

        Raises:
            TryAgainError: another process trains this very run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TryAgainError(
                    f"another process is training this very run (it holds {self.path / 'lock'}); wait for it or stop it"
                ) from None
            # What a kill inside a write left behind is nobody's now.
            for path in self.path.rglob(".*.safetensors"):
                path.unlink()
            yield

    @contextmanager
    def writer(self) -> "Iterator[Writer]":
        yield Writer(self)

    def take_snapshot(self, state: TrainingState, description: Description) -> None:
        """Write each average as a model of its own; the next checkpoint lists them."""
        for average in state.averages.members:
            path = self.snapshots / Snapshot(state.step, average.length).file
            save_model(path, description, average.denoiser)
            state.snapshots[path.name] = sha256(path)

    def save(self, state: TrainingState, record: Mapping[str, Any]) -> None:
        """Write the state, and beside it `record`: JSON values that belong to the same moment."""
        tensors = {name: tensor.contiguous() for name, tensor in tensors_of(state).items()}
        older = [path for _, path in self._slots()]
        content = {"step": state.step, "snapshots": state.snapshots, "record": record}
        metadata = {"rediffuse": json.dumps(content, sort_keys=True)}
        unnamed = self.path / "next.safetensors"
        with replacing(unnamed) as temporary:
            save_file(tensors, temporary, metadata)
        named = self.path / f"step-{state.step:08d}-{sha256(unnamed)}.safetensors"
        unnamed.replace(named)
        fsync_directory(self.path)
        if _intact(named):
            for path in older:
                if path != named:
                    path.unlink()

    def load(self, state: TrainingState) -> dict[str, Any] | None:
        """Put the newest intact checkpoint into `state`; gives its record, or None where there is no checkpoint."""
        for _, path in self._slots():
            if not _intact(path):
                continue
            with safe_open(path, framework="pt") as file:
                content = json.loads(file.metadata()["rediffuse"])
                if not self._all_there(content["snapshots"]):
                    continue
                restore(state, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            state.step, state.snapshots = content["step"], content["snapshots"]
            record: dict[str, Any] = content["record"]
            return record
        return None

    def clear(self) -> None:
        """Remove the checkpoints and snapshots of a run that is done."""
        for _, path in self._slots():
            path.unlink()
        (self.path / "next.safetensors").unlink(missing_ok=True)
        shutil.rmtree(self.snapshots, ignore_errors=True)

    def _all_there(self, snapshots: Mapping[str, str]) -> bool:
        paths = {self.snapshots / name: digest for name, digest in snapshots.items()}
        return all(path.exists() and sha256(path) == digest for path, digest in paths.items())

    def _slots(self) -> list[tuple[int, Path]]:
        """The checkpoints, newest first."""
        named = ((_NAME.fullmatch(path.name), path) for path in self.path.glob("step-*.safetensors"))
        return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)


@dataclass(frozen=True)
class Writer:
    folder: CheckpointFolder

    def save(self, state: TrainingState, record: Mapping[str, Any]) -> None:
        self.folder.save(state, record)

    def take_snapshot(self, state: TrainingState, description: Description) -> None:
        self.folder.take_snapshot(state, description)


def _intact(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    return match is not None and sha256(path) == match[2]
