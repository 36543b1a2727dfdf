"""A whole training: the loop, with its pauses and a progress bar around it."""

import math
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from rediffuse import leaving
from rediffuse.data.dataset import Examples
from rediffuse.diffusion import NetworkDenoiser
from rediffuse.errors import LeavingError
from rediffuse.model import Model
from rediffuse.params import RuntimeParams, TrainParams
from rediffuse.processes import current
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.checkpoint_writer import CheckpointWriter
from rediffuse.training.curves import Curves
from rediffuse.training.gradients import Exact, Fast, Gradients, Sharded, check_shares
from rediffuse.training.pauses import Check, Log, Pauses, Preview
from rediffuse.training.sharding import Follower, sharded, share
from rediffuse.training.trainer import TrainingState, train
from rediffuse.training.validation import held_out, validation_loss


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

    All processes that train it call this, with the same; the first alone reads, writes and tells.

    Args:
        model: with new weights.
        examples, validation: the two splits.
        params: the section `train`.
        runtime: intervals and the progress bar; no number depends on it.
        seed: of everything drawn.
        checkpoints: the run's own folder, locked by the caller; the snapshots lie there in the end.
        log: curves, previews and refused steps go there.
        preview: draws what the raw and the averaged weights make.

    Returns:
        the final state and its curves.

    Raises:
        LeavingError: the process was asked to leave; the state is saved.
        UserError: a step was refused, and `params.guard` says to stop there; or the processes can't share the batches.
    """
    processes = current()
    microbatches = check_shares(params, processes)
    if params.shard:
        # A GPU may have no room for what is not sharded yet.
        for module in (model.denoiser, model.uncertainty):
            if module is not None:
                module.cpu()
    state = TrainingState.new(model, params)
    record = share(state, checkpoints.load(state) if processes.first else None, processes)
    curves = Curves(**(record or {}))
    batches = Batches(
        examples.images,
        examples.labels if model.classes else None,
        seed=seed,
        batch_size=params.batch_size,
        microbatch=params.microbatch,
        device=device,
        loaders=runtime.loaders,
        stored=examples.stored,
    )

    seen = held_out(len(validation), params.validate_images, seed)
    shown, labels = validation.images[seen], validation.labels[seen] if model.classes else None

    def validate(denoiser: NetworkDenoiser, check: Check) -> float:
        return validation_loss(
            denoiser, model.loss, model.noise_levels, shown, labels, seed=seed, device=device, check=check
        )

    def batch_ids(step: int) -> list[str]:
        return [examples.ids[row] for index in range(microbatches) for row in batches.rows(step - 1, index)]

    with ExitStack() as stack:
        asked = stack.enter_context(leaving.deferred())
        writer: CheckpointWriter | Follower = Follower(needed=params.shard)
        if processes.first:
            writer = stack.enter_context(checkpoints.writer())
        else:
            runtime = _followed(runtime, needed=params.shard)
        shards = stack.enter_context(sharded(state, params, device)) if params.shard else None
        gradients = _gradients(state, microbatches, runtime, shards)
        bar = stack.enter_context(_progress_bar(state, params, runtime))

        def check() -> None:
            # All have to leave at the same moment where all are needed to save.
            if not params.shard or processes.broadcast(asked.reason):
                asked.check()
                if params.shard:
                    raise LeavingError("the first process was asked to leave")

        pauses = Pauses(
            state,
            curves,
            params=params,
            runtime=runtime,
            description=model.description,
            validate=validate,
            batch_ids=batch_ids,
            writer=writer,
            refused=checkpoints.path / "refused" if processes.first else None,
            log=log,
            preview=preview,
            # What is sharded is saved by all at once.
            agreed=processes.broadcast if params.shard else bool,
        )
        state.denoiser.train()
        try:
            # What a process that left in the middle did not get to.
            pauses.pause(check)
            for result in train(
                state, model, batches=batches, params=params, seed=seed, check=check, gradients=gradients
            ):
                pauses.note(result)
                pauses.pause(check)
                bar.update(params.batch_size)
                if curves.training:
                    bar.set_postfix(loss=f"{curves.training[-1]['loss']:.4f}", refresh=False)
        except LeavingError:
            pauses.save()
            raise
    return state, curves


def _gradients(
    state: TrainingState, microbatches: int, runtime: RuntimeParams, shards: list[nn.Module] | None
) -> Gradients:
    if shards:
        return Sharded(shards, microbatches)
    if runtime.reduction == "fast" and current().count > 1:
        return Fast(state.trained, microbatches)
    return Exact(list(state.trained.parameters()), microbatches)


def _followed(runtime: RuntimeParams, *, needed: bool) -> RuntimeParams:
    """The section for a process that is not the first: it looks at no clock, and draws only what all are needed for."""
    return runtime.model_copy(
        update={"checkpoint_seconds": math.inf, "preview_every": runtime.preview_every if needed else 0}
    )


def _progress_bar(state: TrainingState, params: TrainParams, runtime: RuntimeParams) -> "tqdm[Any]":
    return tqdm(
        total=params.steps * params.batch_size,
        initial=state.step * params.batch_size,
        unit="img",
        unit_scale=True,
        desc="train",
        # None: only where somebody is looking.
        disable=None if runtime.progress else True,
    )
