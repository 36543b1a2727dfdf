"""A whole training: the loop, with its pauses and a progress bar around it."""

from typing import Any

import torch
from tqdm import tqdm

from rediffuse import leaving
from rediffuse.data.dataset import Examples
from rediffuse.diffusion import NetworkDenoiser
from rediffuse.errors import LeavingError
from rediffuse.model import Model
from rediffuse.params import RuntimeParams, TrainParams
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.curves import Curves
from rediffuse.training.pauses import Check, Log, Pauses, Preview
from rediffuse.training.trainer import TrainingState, train
from rediffuse.training.validation import validation_loss


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
        log: curves, previews and refused steps go there.
        preview: draws what the raw and the averaged weights make.

    Returns:
        the final state and its curves.

    Raises:
        LeavingError: the process was asked to leave; the state is saved.
        UserError: a step was refused, and `params.guard` says to stop there.
    """
    state = TrainingState.new(model, params)
    curves = Curves(**(checkpoints.load(state) or {}))
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

    def validate(denoiser: NetworkDenoiser, check: Check) -> float:
        labels = validation.labels if model.classes else None
        return validation_loss(
            denoiser, model.loss, model.noise_levels, validation.images, labels, seed=seed, device=device, check=check
        )

    def batch_ids(step: int) -> list[str]:
        microbatches = range(params.batch_size // params.microbatch)
        return [examples.ids[row] for index in microbatches for row in batches.rows(step - 1, index)]

    with leaving.deferred() as asked, checkpoints.writer() as writer, _progress_bar(state, params, runtime) as bar:
        pauses = Pauses(
            state,
            curves,
            params=params,
            runtime=runtime,
            description=model.description,
            validate=validate,
            batch_ids=batch_ids,
            writer=writer,
            refused=checkpoints.path / "refused",
            log=log,
            preview=preview,
        )
        state.denoiser.train()
        try:
            # What a process that left in the middle did not get to.
            pauses.pause(asked.check)
            for result in train(state, model, batches=batches, params=params, seed=seed, check=asked.check):
                pauses.note(result)
                pauses.pause(asked.check)
                bar.update(params.batch_size)
                if curves.training:
                    bar.set_postfix(loss=f"{curves.training[-1]['loss']:.4f}", refresh=False)
        except LeavingError:
            pauses.save()
            raise
    return state, curves


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
