"""Do trainings repeat on this device? Train twice, once with a kill in the middle, once on two processes; compare.

    python -m benchmarks.repeat --device cuda --network unet --out benchmarks/results/repeat.json

Also prints what torch's deterministic algorithms cost: the time of a step with and without them, with the start, one
validation and two checkpoints shared out among the steps. Images are random, because the bytes are the question.
Needs neither DVC nor MLflow.
"""

import argparse
import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import command
from benchmarks.contenders.own import params_of
from rediffuse import runtime
from rediffuse.acceleration import accelerate, facts, native_bf16, profile
from rediffuse.data.dataset import Examples
from rediffuse.joining import joined
from rediffuse.model import Model, build_model, describe
from rediffuse.params import Params
from rediffuse.processes import current
from rediffuse.randomness import seeded_global
from rediffuse.tracking import Untracked
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.fit import fit
from rediffuse.training.trainer import TrainingState

CLASSES = 10


class _KilledError(Exception):
    pass


class _Killer(Untracked):
    """Dies when the speed is logged, right after the first checkpoint was handed to its writer."""

    def log_timing(self, step: int, values: Any) -> None:  # noqa: ARG002
        raise _KilledError


def setting(params: Params, network: str, steps: int, batch: int) -> Params:
    """The default parameters, cut to this benchmark."""
    train = {"steps": steps, "batch_size": batch, "microbatch": batch // 2, "ema_start": 10, "validate_every": steps}
    return params.model_copy(
        update={
            "model": params.model.model_copy(update={"name": network}),
            "train": params.train.model_copy(update=train),
            "runtime": params.runtime.model_copy(
                update={"progress": False, "preview_every": 0, "checkpoint_every": steps // 2}
            ),
        }
    )


def data(count: int, size: int, channels: int) -> Examples:
    """Random images."""
    draw = np.random.default_rng(0)
    return Examples(
        images=draw.integers(0, 256, (count, channels, size, size), dtype=np.uint8),
        labels=np.arange(count, dtype=np.int64) % CLASSES,
        ids=tuple(str(i) for i in range(count)),
    )


def new_model(params: Params, examples: Examples, device: torch.device) -> Model:
    """A model with the weights of seed 0."""
    _, channels, height, width = examples.images.shape
    description = describe(
        params.model,
        params.diffusion,
        shape=(channels, height, width),
        classes=[str(i) for i in range(CLASSES)],
        sigma_data=0.5,
    )
    with seeded_global(0, "train/weights"):
        model = build_model(description, device)
    accelerate(model.denoiser.network, profile(params.runtime, device))
    return model


def batches_of(params: Params, examples: Examples, device: torch.device) -> Batches:
    """What each step sees, in the order of seed 0."""
    return Batches(
        examples.images,
        examples.labels,
        seed=0,
        batch_size=params.train.batch_size,
        microbatch=params.train.microbatch,
        device=device,
    )


def trained(params: Params, examples: Examples, device: torch.device, folder: Path, log: Untracked) -> TrainingState:
    """The state after the last step, from a checkpoint in `folder` where there is one."""
    checkpoints = CheckpointFolder(folder)
    with checkpoints.locked() if current().first else contextlib.nullcontext():
        state, _ = fit(
            new_model(params, examples, device),
            examples,
            Examples(examples.images[:256], examples.labels[:256], examples.ids[:256]),
            params=params.train,
            runtime=params.runtime,
            seed=0,
            device=device,
            checkpoints=checkpoints,
            log=log,
            preview=lambda _: b"",
        )
    return state


def digest(state: TrainingState) -> str:
    """SHA-256 of weights and averages."""
    content = hashlib.sha256()
    for module in (state.denoiser, *(average.denoiser for average in state.averages.members)):
        for tensor in module.state_dict().values():
            content.update(tensor.cpu().numpy().tobytes())
    return content.hexdigest()


def seconds_a_step(params: Params, examples: Examples, device: torch.device, deterministic: bool) -> float:
    """Wall time of a training, divided by its steps."""
    torch.use_deterministic_algorithms(deterministic)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        trained(params, examples, device, Path(folder), Untracked())
        return (time.perf_counter() - start) / params.train.steps


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.bare(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--network", choices=["unet", "article_unet"], default="unet")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--profile", default="auto", help="a value of runtime.profile")
    parser.add_argument("--quick", action="store_true", help="leave out what determinism costs")
    options = parser.parse_args()

    model = "base" if options.device == "cuda" and options.size >= 32 else "small"
    loaded = params_of({"model.size": model, "runtime.profile": options.profile})
    params = setting(loaded, options.network, options.steps, options.batch)
    device = runtime.start(params.runtime.model_copy(update={"device": options.device}))
    examples = data(4096, options.size, options.channels)
    result: dict[str, Any] = {}
    # The second process, which `joined` starts, is needed for the last comparison alone.
    if "RANK" not in os.environ:
        result = alone(params, examples, device)
    with joined("benchmarks.repeat", params.runtime.model_copy(update={"processes": 2})) as processes:
        with tempfile.TemporaryDirectory() as folder:
            together = digest(trained(params, examples, device, Path(folder), Untracked()))
        if not processes.first:
            return
    result |= {"two_processes": together, "same": {*result.values(), together} == {together}}
    result |= described(params, device, options)
    if not options.quick:
        free, fixed = (seconds_a_step(params, examples, device, each) for each in (False, True))
        result["milliseconds_a_step"] = {"deterministic": round(1e3 * fixed, 2), "free": round(1e3 * free, 2)}
    command.tell(options.out, result)


def alone(params: Params, examples: Examples, device: torch.device) -> dict[str, str]:
    """The digests of three trainings on this process: one, another, and one that is killed and goes on."""
    with tempfile.TemporaryDirectory() as folder:
        first = digest(trained(params, examples, device, Path(folder) / "first", Untracked()))
        again = digest(trained(params, examples, device, Path(folder) / "again", Untracked()))
        with contextlib.suppress(_KilledError):
            trained(params, examples, device, Path(folder) / "killed", _Killer())
        resumed = digest(trained(params, examples, device, Path(folder) / "killed", Untracked()))
    return {"first": first, "again": again, "killed_and_resumed": resumed}


def described(params: Params, device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    """What was trained, and where."""
    return {
        "steps": options.steps,
        "batch": options.batch,
        "microbatch": params.train.microbatch,
        "network": {"name": params.model.name, **params.model.settings.model_dump(mode="json")},
        "images": [options.channels, options.size, options.size],
        "environment": runtime.environment(device),
        "precision": "bf16" if native_bf16(device) else "fp32",
        "profile": facts(profile(params.runtime, device)),
    }


if __name__ == "__main__":
    main()
