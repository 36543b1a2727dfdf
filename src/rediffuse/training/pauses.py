"""What is done between two steps: curves, validation, previews, snapshots, checkpoints, a look at refused steps.

Each is due at certain steps and done once. A process that is asked to leave in the middle saves the state of that
step, and the next one begins with what was not done.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch

from rediffuse import files
from rediffuse.acceleration import uncompiled
from rediffuse.diffusion import NetworkDenoiser
from rediffuse.errors import UserError
from rediffuse.model import Description
from rediffuse.params import RuntimeParams, TrainParams
from rediffuse.snapshots import planned
from rediffuse.training.checkpoint_writer import CheckpointWriter
from rediffuse.training.curves import Curves
from rediffuse.training.guard import Refusal
from rediffuse.training.sharding import Follower
from rediffuse.training.trainer import StepResult, TrainingState, learning_rate


class Log(Protocol):
    """Where a training tells how it goes; `rediffuse.tracking.Run` is one."""

    def log_curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Rows of "step" and values; one that was told before may come again."""
        ...

    def log_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Values that depend on the machine."""
        ...

    def log_image(self, name: str, png: bytes) -> None:
        """A preview."""
        ...

    def log_document(self, name: str, value: Any) -> None:
        """JSON: the images of a refused step."""
        ...


Check = Callable[[], None]
"""Raises where the process is asked to leave."""

Preview = Callable[[NetworkDenoiser], bytes]
"""A denoiser -> a PNG of what it makes."""


class Pauses:
    """The pauses of one training.

    Args:
        state: the training's, changed by it between two pauses.
        curves: what it recorded so far.
        params: the section `train`.
        runtime: intervals; no number depends on them.
        description: of the model, for snapshots.
        validate: the loss of a denoiser on held-out images.
        batch_ids: the ids of the images of a step, from 1.
        writer: of checkpoints.
        refused: the folder where the images of refused steps are listed; None: another process lists them.
        log: curves, previews and refused steps go there.
        preview: draws what the raw and the averaged weights make.
        agreed: makes of what this process would do what all do.
    """

    def __init__(
        self,
        state: TrainingState,
        curves: Curves,
        *,
        params: TrainParams,
        runtime: RuntimeParams,
        description: Description,
        validate: Callable[[NetworkDenoiser, Check], float],
        batch_ids: Callable[[int], list[str]],
        writer: CheckpointWriter | Follower,
        refused: Path | None,
        log: Log,
        preview: Preview,
        agreed: Callable[[bool], bool] = lambda wish: wish,
    ) -> None:
        self.state, self.curves = state, curves
        self.params, self.runtime, self.description = params, runtime, description
        self.validate, self.batch_ids = validate, batch_ids
        self.writer, self.refused, self.log, self.preview = writer, refused, log, preview
        self.agreed = agreed
        self._device = next(state.denoiser.parameters()).device
        self._snapshot_steps = {snapshot.step for snapshot in planned(params)}
        self._window = torch.tensor([curves.window, curves.taken], dtype=torch.float64, device=self._device)
        self._saved_step, self._saved_at = state.step, time.monotonic()
        log.log_curve(curves.rows)

    def note(self, result: StepResult) -> None:
        """Take in what a step tells."""
        taken = 1 - result.refused.double()
        self._window += torch.stack([torch.where(taken > 0, result.loss.double(), 0.0), taken])

    def pause(self, check: Check) -> None:
        """Do all that is due after the step that was taken last and is not done yet.

        Raises:
            UserError: a step was refused, and `params.guard` says to stop there.
        """
        step = self.state.step
        if step == 0:
            return
        save = self._due(self.runtime.checkpoint_every) or self.agreed(self._overdue())
        if save or self._due(self.params.log_every) or self._device.type == "cpu":
            self._look_at_refusals()
        check()
        if self._due(self.params.log_every) and not _has(self.curves.training, step):
            self._record_loss()
        if self._due(self.params.validate_every) and not _has(self.curves.validation, step):
            self._validate(check)
        every = self.runtime.preview_every
        if every and self._due(every) and self.curves.previewed < step:
            check()
            self._draw()
        if step in self._snapshot_steps:
            self.writer.take_snapshot(self.state, self.description)
        if save:
            self.save()

    def save(self) -> None:
        """Hand the state to the writer of checkpoints; before the first step there is nothing to keep."""
        if self.state.step == 0:
            return
        self._look_at_refusals()
        self.curves.window, self.curves.taken = self._window.tolist()
        self.writer.save(self.state, asdict(self.curves))
        now = time.monotonic()
        if self.state.step > self._saved_step:
            images = (self.state.step - self._saved_step) * self.params.batch_size
            self.log.log_timing(self.state.step, {"examples_per_second": images / (now - self._saved_at)})
        self._saved_step, self._saved_at = self.state.step, now

    def _due(self, every: int) -> bool:
        return due(self.state.step, every, self.params.steps)

    def _overdue(self) -> bool:
        return time.monotonic() - self._saved_at >= self.runtime.checkpoint_seconds

    def _record_loss(self) -> None:
        total, taken = self._window.tolist()
        self._window.zero_()
        if taken:
            row = {"step": self.state.step, "loss": total / taken, "lr": learning_rate(self.params, self.state.step)}
            self.curves.training.append(row)
            self.log.log_curve([row])

    def _validate(self, check: Check) -> None:
        values = {}
        for name, denoiser in (("val_loss", self.state.denoiser), ("val_loss_ema", self.state.average)):
            denoiser.eval()
            with uncompiled():
                values[name] = self.validate(denoiser, check)
        self.state.denoiser.train()
        row = {"step": self.state.step, **values}
        self.curves.validation.append(row)
        self.log.log_curve([row])

    def _draw(self) -> None:
        for name, denoiser in (("raw", self.state.denoiser), ("ema", self.state.average)):
            denoiser.eval()
            with uncompiled():
                picture = self.preview(denoiser)
            self.log.log_image(f"step-{self.state.step:07d}-{name}.png", picture)
        self.state.denoiser.train()
        self.curves.previewed = self.state.step

    def _look_at_refusals(self) -> None:
        for refusal in self.state.guard.refusals():
            listed = self._list(refusal)
            if self.state.guard.stops(refusal):
                where = f", its images are listed in {listed}," if listed else ""
                raise UserError(
                    f"training stops at step {refusal.step}: {refusal.reason}; the step was not taken{where} and the "
                    "last checkpoint before it is kept. A lower train.lr or train.grad_clip may help, or "
                    "train.guard.non_finite and on_spike skip"
                )
            if listed:
                sys.stderr.write(
                    f"step {refusal.step} is skipped: {refusal.reason}; its images are listed in {listed}\n"
                )

    def _list(self, refusal: Refusal) -> Path | None:
        """Write down what was refused, with the ids of its images; not in numbers, which JSON lacks names for."""
        if self.refused is None:
            return None
        path = self.refused / f"step-{refusal.step:07d}.json"
        value = {"step": refusal.step, "reason": refusal.reason, "ids": self.batch_ids(refusal.step)}
        files.write_json(path, value)
        self.log.log_document(path.stem, value)
        return path


def due(step: int, every: int, last: int) -> bool:
    """Whether something done every so many steps, and at the end, is done after this one."""
    return step % every == 0 or step == last


def _has(rows: Sequence[Mapping[str, float]], step: int) -> bool:
    return bool(rows) and rows[-1]["step"] == step
