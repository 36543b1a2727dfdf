"""A whole training: the loop with its curves, checkpoints, previews and progress bar around it."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from tqdm import tqdm

from rediffuse.data.dataset import Examples
from rediffuse.diffusion import NetworkDenoiser
from rediffuse.errors import UserError
from rediffuse.leaving import deferred
from rediffuse.model import Model
from rediffuse.params import RuntimeParams, TrainParams
from rediffuse.snapshots import planned
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.trainer import StepResult, TrainingState, train
from rediffuse.training.validation import validation_loss


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


Preview = Callable[[NetworkDenoiser], bytes]
"""A denoiser -> a PNG of what it makes."""


@dataclass
class Curves:
    """What a training recorded; it travels in the checkpoints, so that a resumed run writes the same tables.

    Args:
        training: rows {step, loss, lr}; the loss is the mean over the steps since the row before.
        validation: rows {step, val_loss, val_loss_ema}.
        window: sum of the losses since the last row.
    """

    training: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    window: float = 0.0

    @property
    def rows(self) -> list[dict[str, float]]:
        """All of them."""
        return [*self.training, *self.validation]


def fit(
    model: Model,
    examples: Examples,
    validation: Examples,
    *,
    params: TrainParams,
    runtime: RuntimeParams,
    seed: int,
    device: torch.device,
    checkpoints: CheckpointFolder,
    log: Log,
    preview: Preview,
) -> tuple[TrainingState, Curves]:
    """Train a model to its last step, from the newest checkpoint of this very run where there is one.

    Args:
        model: with new weights.
        examples, validation: the two splits.
        params: the section `train`.
        runtime: intervals and the progress bar; no number depends on it.
        seed: of everything drawn.
        checkpoints: the run's own folder, locked by the caller; the snapshots lie there in the end.
        log: curves go there with each checkpoint.
        preview: draws what the raw and the averaged weights make.

    Returns:
        the final state and its curves.
    """
    state = TrainingState.new(model, params)
    curves = Curves(**(checkpoints.load(state) or {}))
    labelled = bool(model.classes)
    batches = Batches(
        examples.images,
        examples.labels if labelled else None,
        seed=seed,
        batch_size=params.batch_size,
        microbatch=params.microbatch,
        device=device,
    )

    def validate(denoiser: NetworkDenoiser) -> float:
        denoiser.eval()
        labels = validation.labels if labelled else None
        return validation_loss(
            denoiser, model.loss, model.noise_levels, validation.images, labels, seed=seed, device=device
        )

    snapshot_steps = {snapshot.step for snapshot in planned(params)}
    window = torch.tensor(curves.window, device=device)
    timed_step, timed_at = state.step, time.monotonic()
    bar = tqdm(
        total=params.steps * params.batch_size,
        initial=state.step * params.batch_size,
        unit="img",
        unit_scale=True,
        desc="train",
        # None: only where somebody is looking.
        disable=None if runtime.progress else True,
    )
    state.denoiser.train()
    with deferred() as asked:
        for result in train(state, model, batches=batches, params=params, seed=seed):
            window += result.loss
            bar.update(params.batch_size)
            if due(result.step, params.log_every, params.steps):
                _record_loss(curves, result, _finite(window, result.step))
                window.zero_()
                bar.set_postfix(loss=f"{curves.training[-1]['loss']:.4f}")
            if due(result.step, params.validate_every, params.steps):
                raw, average = validate(state.denoiser), validate(state.average)
                state.denoiser.train()
                curves.validation.append({"step": result.step, "val_loss": raw, "val_loss_ema": average})
            if runtime.preview_every and due(result.step, runtime.preview_every, params.steps):
                for name, denoiser in (("raw", state.denoiser), ("ema", state.average)):
                    denoiser.eval()
                    log.log_image(f"step-{result.step:07d}-{name}.png", preview(denoiser))
                state.denoiser.train()
            if result.step in snapshot_steps:
                checkpoints.take_snapshot(state, model.description)
            if asked.reason or due(result.step, runtime.checkpoint_every, params.steps):
                curves.window = _finite(window, result.step)
                checkpoints.save(
                    state, {"training": curves.training, "validation": curves.validation, "window": curves.window}
                )
                log.log_curve(curves.rows)
                now = time.monotonic()
                speed = (result.step - timed_step) * params.batch_size / (now - timed_at)
                log.log_timing(result.step, {"examples_per_second": speed})
                timed_step, timed_at = result.step, now
            asked.check()
    bar.close()
    return state, curves


def _finite(window: torch.Tensor, step: int) -> float:
    """The sum of losses since the last row; a checkpoint is never written once it is no number."""
    total = float(window)
    if not math.isfinite(total):
        raise UserError(
            f"the loss is {total} at step {step} or shortly before; the checkpoint before it is kept. "
            "A lower train.lr or train.grad_clip may help"
        )
    return total


def due(step: int, every: int, last: int) -> bool:
    """Whether something done every so many steps, and at the end, is done after this one."""
    return step % every == 0 or step == last


def fingerprint(parts: Mapping[str, Any]) -> str:
    """The name of all that decides a training's numbers: equal parts, equal bytes, and so one state to resume from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _record_loss(curves: Curves, result: StepResult, total: float) -> None:
    since = curves.training[-1]["step"] if curves.training else 0
    curves.training.append({"step": result.step, "loss": total / (result.step - since), "lr": result.lr})
