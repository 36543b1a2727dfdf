"""Stage `train`: the cleaned examples to the averaged weights of a denoiser."""

from typing import Any

import pandas as pd

from rediffuse import files, runtime
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.diffusion import NetworkDenoiser
from rediffuse.model import build_model, describe, save_model
from rediffuse.params import Params
from rediffuse.pictures import class_grid
from rediffuse.randomness import seeded_global
from rediffuse.sampling import Sampling, class_mix
from rediffuse.source import source_digest
from rediffuse.stage import run_stage
from rediffuse.tracking import Run, Untracked
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.fit import fingerprint, fit
from rediffuse.workspace import Workspace


def train(params: Params, workspace: Workspace, run: Run | None = None) -> dict[str, Any]:
    """Train the model that `model` and `diffusion` describe, or go on where a killed training of it stopped."""
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    examples, validation = load_split(workspace, "train"), load_split(workspace, "val")
    description = describe(params.model, params.diffusion, shape=card.shape, classes=card.classes, sigma_data=card.std)
    with seeded_global(params.seed, "train/weights"):
        model = build_model(description, device)

    def preview(denoiser: NetworkDenoiser) -> bytes:
        labels = class_mix(min(64, 8 * max(1, len(card.classes))), card.classes, None)
        sampling = Sampling.of(model, params.sample.model_copy(update={"batch_size": len(labels)}), device, denoiser)
        return class_grid(next(sampling.images(labels)), labels, card.classes, columns=8)

    name = fingerprint(
        {
            "model": description,
            "train": params.train.model_dump(mode="json"),
            "seed": params.seed,
            "data": [card.digest, files.sha256(workspace.split)],
            "source": source_digest("diffusion", "networks", "training", "model.py", "randomness.py", "seeds.py"),
            "environment": runtime.environment(device),
        }
    )
    checkpoints = CheckpointFolder(workspace.state / "train" / name)
    with checkpoints.locked():
        state, curves = fit(
            model,
            examples,
            validation,
            params=params.train,
            runtime=params.runtime,
            seed=params.seed,
            device=device,
            checkpoints=checkpoints,
            log=run or Untracked(),
            preview=preview,
        )
        save_model(workspace.denoiser, description, state.average)
        for table, rows, columns in (
            ("training", curves.training, ["step", "loss", "lr"]),
            ("validation", curves.validation, ["step", "val_loss", "val_loss_ema"]),
        ):
            text = pd.DataFrame(rows, columns=columns).to_csv(index=False, float_format="%.6g", lineterminator="\n")
            files.write_bytes(workspace.plot(table), text.encode())
        last = curves.validation[-1]
        metrics = {
            "steps": state.step,
            "examples": state.step * params.train.batch_size,
            "parameters": sum(weights.numel() for weights in model.denoiser.parameters()),
            "loss": float(f"{curves.training[-1]['loss']:.6g}"),
            "val_loss": float(f"{last['val_loss']:.6g}"),
            "val_loss_ema": float(f"{last['val_loss_ema']:.6g}"),
        }
        files.write_json(workspace.metrics("train"), metrics)
        checkpoints.clear()
    return metrics


if __name__ == "__main__":
    run_stage(train, live=True)
