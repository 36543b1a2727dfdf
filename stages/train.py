"""Stage `train`: the cleaned examples to the weights of a denoiser, averaged and raw."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rediffuse import files, memory, runtime, state_folder
from rediffuse.acceleration import accelerate, facts, profile
from rediffuse.data.canaries import canaries, planted
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.diffusion import NetworkDenoiser
from rediffuse.joining import joined
from rediffuse.leaving import stay
from rediffuse.model import Description, build_model, describe, save_model
from rediffuse.networks.cost import cost
from rediffuse.params import Params
from rediffuse.pictures import class_grid
from rediffuse.processes import current
from rediffuse.provenance.environment import note
from rediffuse.provenance.source import source_digest
from rediffuse.randomness import seeded_global
from rediffuse.sampling import Sampling, class_mix, preview_params
from rediffuse.snapshots import check_length, planned, publish, reconstruct
from rediffuse.stage import run_stage
from rediffuse.tables import rounded, write_table
from rediffuse.tracking import Run, Untracked
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.fingerprint import fingerprint
from rediffuse.training.fit import fit
from rediffuse.workspace import Workspace

# The code whose change makes a checkpoint another training's; dvc.yaml lists the same.
SOURCE = (
    "data",
    "diffusion",
    "networks",
    "training",
    "acceleration.py",
    "files.py",
    "model.py",
    "power_ema.py",
    "processes.py",
    "randomness.py",
    "runtime.py",
    "seeds.py",
    "snapshots.py",
    "tables.py",
)

LENGTH = "train.ema_length"
CPU = torch.device("cpu")


@memory.advised(
    "use a smaller train.microbatch, which is part of the numbers, or train.shard with more runtime.processes"
)
def train(params: Params, workspace: Workspace, run: Run | None = None) -> dict[str, Any]:
    """Train the model that `model` and `diffusion` describe, or go on where a killed training of it stopped."""
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    examples, validation = load_split(workspace, "train"), load_split(workspace, "val")
    if count := params.train.canaries:
        invented = canaries("planted", count, seed=params.seed, shape=card.shape, classes=len(card.classes))
        examples = planted(examples, invented, params.train.canary_repeats)
    description = describe(params.model, params.diffusion, shape=card.shape, classes=card.classes, sigma_data=card.std)
    how = profile(params.runtime, device)
    with seeded_global(params.seed, "train/weights"):
        model = build_model(description, device)
    needed = cost(model.denoiser.network, model.shape, labelled=bool(model.classes))
    if current().first:
        sys.stdout.write(f"train: {needed}, {how.name}\n")
        # What waits in a pipe's buffer is read after the training.
        sys.stdout.flush()
    accelerate(model.denoiser.network, how)

    labels = class_mix(min(64, 8 * max(1, len(card.classes))), card.classes, None)
    shown = preview_params(params.sample, len(labels))
    # Asked for before training, so that what can't be sampled is not trained first.
    Sampling.of(model, shown, device)
    snapshots = planned(params.train)
    if params.train.ema == "power":
        check_length(LENGTH, params.train.ema_length, snapshots)

    def preview(denoiser: NetworkDenoiser) -> bytes:
        sampling = Sampling.of(model, shown, device, denoiser=denoiser)
        return class_grid(next(sampling.images(labels)), labels, card.classes, columns=8)

    processes = current()
    data = [card.digest, files.sha256(workspace.split)]
    parts = fingerprint_parts(params, description, data, device, processes.count)
    if "reduction" in parts:
        note({name: str(value) for name, value in parts["reduction"].items()})
    processes.check_alike(parts)
    log = run or Untracked()
    log.log_document("fingerprint", parts)
    checkpoints = CheckpointFolder(workspace.state / "train" / fingerprint(parts), parts)
    # Asked now, not when all is trained.
    for path in (workspace.denoiser, workspace.plot("training"), workspace.metrics("train")):
        state_folder.check_writable(path.parent)
    with checkpoints.locked() if processes.first else nullcontext():
        state, curves = fit(
            model,
            examples,
            validation,
            params=params.train,
            runtime=params.runtime,
            seed=params.seed,
            device=device,
            checkpoints=checkpoints,
            log=log,
            preview=preview,
        )
        if not processes.first:
            # The first process writes what all have computed.
            return {}
        write_table(workspace.plot("training"), pd.DataFrame(curves.training, columns=["step", "loss", "lr"]))
        write_table(
            workspace.plot("validation"),
            pd.DataFrame(curves.validation, columns=["step", "val_loss", "val_loss_ema"]),
        )
        last = curves.validation[-1]
        metrics: dict[str, Any] = rounded(
            {
                "steps": state.step,
                "examples": state.step * params.train.batch_size,
                "skipped_steps": state.guard.skipped,
                **needed._asdict(),
                # Of a training shorter than a row of the curve, whose steps were all refused, there is none.
                **({"loss": curves.training[-1]["loss"]} if curves.training else {}),
                "val_loss": last["val_loss"],
                "val_loss_ema": last["val_loss_ema"],
            }
        )
        files.write_json(workspace.metrics("train"), metrics)
        publish(checkpoints.snapshots, workspace.snapshots, snapshots)
        final = state.average
        if params.train.ema == "power":
            final = reconstruct(workspace.snapshots, params.train.ema_length, CPU, key=LENGTH).denoiser
        save_model(workspace.denoiser, description, final)
        save_model(workspace.raw, description, state.denoiser)
        # The last thing of the stage: from here on it ends well, or the checkpoints are there to go on from.
        stay()
        checkpoints.clear()
    return metrics


def fingerprint_parts(
    params: Params, description: Description, data: Sequence[str], device: torch.device, processes: int
) -> dict[str, Any]:
    """All that decides the bytes of a training, by name: JSON values.

    Args:
        params: `train`, `seed`, `runtime.reduction` and `runtime.profile` count, no other key.
        description: of the model.
        data: digests of the examples and of their split.
        device: of the training; what is installed there and its threads count with it.
        processes: how many train; their number counts where they don't sum in the fixed order.
    """
    parts = {
        "model": description,
        "train": params.train.model_dump(mode="json"),
        "seed": params.seed,
        "data": list(data),
        "source": source_digest(Path(__file__), SOURCE),
        "environment": runtime.environment(device),
        "profile": facts(profile(params.runtime, device)),
    }
    # Sums whose bits depend on the number of processes.
    if processes > 1 and params.runtime.reduction == "fast":
        parts["reduction"] = {"reduction": "fast", "processes": processes}
    if params.train.shard:
        parts["reduction"] = {"reduction": "shard", "processes": processes}
    return parts


if __name__ == "__main__":
    run_stage(train, live=True, joined=joined)
