"""The training state on disk: the two newest checkpoints of one training, each written whole or not at all.

A new checkpoint is written beside the two, renamed into place and read back; only then the oldest goes. So a kill at
any moment leaves one that reads back, and a byte that flips on the disk later costs one interval: its file no longer
matches the digest in its name, and the checkpoint before it is taken. Snapshots of the averages lie in a folder
beside; a checkpoint of which one is missing or spoilt is passed over as well.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from rediffuse import files, state_folder
from rediffuse.errors import UserError
from rediffuse.training import checkpoint_file
from rediffuse.training.checkpoint_file import Content, UnusableError
from rediffuse.training.checkpoint_writer import CheckpointWriter
from rediffuse.training.fingerprint import fingerprint
from rediffuse.training.tensors import restore
from rediffuse.training.trainer import TrainingState


class CheckpointFolder:
    """The checkpoints of one training.

    Args:
        path: a folder of this training alone.
        parts: of its fingerprint, JSON values; a checkpoint with another fingerprint is passed over.
    """

    def __init__(self, path: Path, parts: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._parts = dict(parts or {})
        self._fingerprint = fingerprint(self._parts)
        # Of the snapshots written so far, by file name.
        self._digests: dict[str, str] = {}

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots taken so far."""
        return self.path / "snapshots"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out; the kernel lets go of the lock when this one dies, however it dies.

        Raises:
            TryAgainError: another process trains this very run, or the disk is full.
            UserError: the folder can't be written.
        """
        with state_folder.locked(self.path):
            with state_folder.told(self.path):
                # What a kill inside a write left behind is nobody's now; safetensors' own temporary files are .tmp*.
                for path in self.path.rglob(".*"):
                    path.unlink()
                files.write_json(self.path / state_folder.FINGERPRINT, self._parts)
            yield

    def writer(self) -> CheckpointWriter:
        """What writes into this folder; use it as a context."""
        return CheckpointWriter(self.path, self.snapshots, self._fingerprint, self._digests)

    def load(self, state: TrainingState) -> dict[str, Any] | None:
        """Put the newest usable checkpoint into `state`; gives its record, or None where there is no checkpoint.

        One that is passed over is a line on stderr, and changes nothing of `state`.

        Raises:
            UserError: there are checkpoints, but none is usable. To start over in silence would throw them away.
        """
        passed_over = []
        for _, path in checkpoint_file.slots(self.path):
            try:
                content, tensors = self._read(path)
                restore(state, tensors)
            except (UnusableError, ValueError) as error:
                passed_over.append(f"{path.name}: {error}")
                continue
            for line in passed_over:
                sys.stderr.write(
                    f"warning: a checkpoint is passed over, training goes on from step {content.step}; {line}\n"
                )
            state.step = content.step
            self._digests.clear()
            self._digests |= content.snapshots
            record: dict[str, Any] = json.loads(content.record)
            return record
        if passed_over:
            raise UserError(
                f"no checkpoint in {self.path} can be used ({'; '.join(passed_over)}); to train from the start, remove "
                "that folder, or all unfinished trainings with `make clear-states`"
            )
        return None

    def clear(self) -> None:
        """Remove the folder of a training that is done; the caller has it locked."""
        state_folder.remove(self.path)

    def _read(self, path: Path) -> tuple[Content, dict[str, Tensor]]:
        """A checkpoint of this very training, with all the snapshots it lists.

        Raises:
            UnusableError: it is none.
        """
        content, tensors = checkpoint_file.read(path)
        if content.fingerprint != self._fingerprint:
            raise UnusableError(f"it belongs to another training, of fingerprint {content.fingerprint[:12]}")
        for name, digest in content.snapshots.items():
            try:
                found = files.sha256(self.snapshots / name)
            except FileNotFoundError:
                raise UnusableError(f"its snapshot {name} is missing") from None
            except OSError as error:
                raise UnusableError(f"its snapshot {name} can't be read: {error.strerror or error}") from error
            if found != digest:
                raise UnusableError(f"its snapshot {name} has other bytes than it had")
        return content, tensors
