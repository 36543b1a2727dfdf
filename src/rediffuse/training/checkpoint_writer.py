"""Checkpoints written beside the training: it waits for a copy of the tensors, a thread does the rest."""

import json
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from rediffuse.errors import TryAgainError, UserError
from rediffuse.files import sha256
from rediffuse.model import Description, save_weights
from rediffuse.snapshots import Snapshot
from rediffuse.training import checkpoint_file
from rediffuse.training.checkpoint_file import Content
from rediffuse.training.tensors import module_tensors, tensors_of
from rediffuse.training.trainer import TrainingState


class CheckpointWriter:
    """Writes one thing at a time; whoever comes with the next waits for the one before, and hears what went wrong.

    A block that ends well ends when all is on disk. One that ends by an exception waits too; what went wrong in
    writing is then a line on stderr.

    Args:
        folder: where the checkpoints lie, locked by the caller.
        snapshots: the folder of the snapshots.
        fingerprint: of the training.
        digests: of the snapshots written so far, by file name; each new one is entered.
    """

    def __init__(self, folder: Path, snapshots: Path, fingerprint: str, digests: dict[str, str]) -> None:
        self._folder, self._snapshots = folder, snapshots
        self._fingerprint, self._digests = fingerprint, digests
        # Kept from one checkpoint to the next: copying into memory that is there takes a sixth of the time.
        self._copies: dict[str, Tensor] = {}
        # An event, not Thread.join: a join that a signal handler's exception leaves takes a living thread for ended.
        self._idle = threading.Event()
        self._idle.set()
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish()
        except Exception as ours:
            if error is None:
                raise
            _warn(str(ours))

    def save(self, state: TrainingState, record: Mapping[str, Any]) -> None:
        """Write the state, and beside it `record`: JSON values that belong to the same moment.

        Raises:
            TryAgainError: the write before this one failed, or no thread can be started.
            UserError: what was to be written before this holds NaN or infinity.
        """
        self.finish()
        step, text = state.step, json.dumps(record, sort_keys=True)
        copies = self._copied(tensors_of(state))
        self._start(f"the checkpoint of step {step}", lambda: self._write(step, text, copies))

    def take_snapshot(self, state: TrainingState, description: Description) -> None:
        """Write each average as a model of its own; the next checkpoint lists them.

        Raises:
            TryAgainError, UserError: as `save`.
        """
        self.finish()
        copies = {
            Snapshot(state.step, average.length).file: self._copied(
                module_tensors(average.denoiser.network), f"{average.name}.network."
            )
            for average in state.averages.members
        }
        self._start(f"the snapshot of step {state.step}", lambda: self._write_snapshots(description, copies))

    def finish(self) -> None:
        """Wait until all is on disk.

        Raises:
            TryAgainError, UserError: as `save`.
        """
        self._idle.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _copied(self, tensors: Iterable[tuple[str, Tensor]], prefix: str = "") -> dict[str, Tensor]:
        """The tensors on the CPU, contiguous; the copies are good until the next call, so after a `finish` only.

        Args:
            tensors: each is let go before the next is asked for.
        """
        copies = {}
        for name, tensor in tensors:
            copy = self._copies.get(prefix + name)
            if copy is None or (copy.shape, copy.dtype) != (tensor.shape, tensor.dtype):
                copy = self._copies[prefix + name] = torch.empty(tensor.shape, dtype=tensor.dtype)
            copies[name] = copy.copy_(tensor.detach())
            del tensor
        return copies

    def _start(self, what: str, write: Callable[[], None]) -> None:
        def run() -> None:
            try:
                write()
            except OSError as error:
                self._error = self._failed(what, error)
            except Exception as error:
                self._error = error
            finally:
                self._idle.set()

        self._idle.clear()
        try:
            threading.Thread(target=run, name=f"writes {what}", daemon=True).start()
        except RuntimeError as error:
            # No thread more is allowed, and none will say that it is done.
            self._idle.set()
            raise TryAgainError(f"{what} could not be written: {error}; {self._stays()}") from error

    def _write(self, step: int, record: str, tensors: Mapping[str, Tensor]) -> None:
        wrong = checkpoint_file.no_numbers(tensors)
        if wrong:
            raise UserError(
                f"after step {step} {wrong[0]} holds NaN or infinity, as do {len(wrong)} of the training's "
                f"{len(tensors)} tensors; {self._stays()}. A lower train.lr or train.grad_clip may help"
            )
        content = Content(step, self._fingerprint, dict(self._digests), record)
        written = checkpoint_file.write(self._folder, content, tensors)
        if not checkpoint_file.reads_back(written):
            written.unlink(missing_ok=True)
            _warn(f"{written} does not read back as it was written, and is removed; {self._stays()}")
            return
        older = [path for at, path in checkpoint_file.slots(self._folder) if path != written and at < step]
        # A later step's was passed over when this training began, or it would have begun there.
        for _, path in checkpoint_file.slots(self._folder):
            if path not in (written, *older[:1]):
                path.unlink()

    def _write_snapshots(self, description: Description, models: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, weights in models.items():
            save_weights(self._snapshots / name, description, weights)
            self._digests[name] = sha256(self._snapshots / name)

    def _failed(self, what: str, error: OSError) -> TryAgainError:
        reason = error.strerror or str(error)
        return TryAgainError(f"{what} could not be written in {self._folder}: {reason}; {self._stays()}")

    def _stays(self) -> str:
        kept = checkpoint_file.slots(self._folder)
        return f"the checkpoint of step {kept[0][0]} stays" if kept else "there is no checkpoint before it"


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")
