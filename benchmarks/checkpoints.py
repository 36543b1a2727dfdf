"""What checkpoints cost: the time a training loses by one every 30 seconds, and the way from a checkpoint to a step.

    python -m benchmarks.checkpoints --device cpu --out benchmarks/results/checkpoints-cpu.json

A few steps with a checkpoint and a few without take turns; the difference is what one costs, however it comes about:
the copy that the loop waits for, and the thread that writes beside it. "To the first step" is from the call of `fit`
to the end of the first step, without the imports. Images are random, because time is the question.
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import command
from benchmarks.processes import UNETS
from benchmarks.repeat import batches_of, data, new_model, trained
from rediffuse import runtime
from rediffuse.data.dataset import Examples
from rediffuse.params import Params, load_params
from rediffuse.tracking import Untracked
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.trainer import TrainingState, train

EVERY = 30.0


class _FirstStepError(Exception):
    """Carries nothing: the clock is read where it is caught."""


class _FirstStep(Untracked):
    """Ends a training when its first row is told, after its first step."""

    def log_curve(self, rows: Any) -> None:
        if rows:
            raise _FirstStepError


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.bare(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="a turn")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()

    loaded = load_params(Path(__file__).parents[1] / "params.yaml")
    device = runtime.start(loaded.runtime.model_copy(update={"device": options.device}))
    examples = data(4096, 8, 1)
    networks = {}
    for name, changes in UNETS.items():
        unet = loaded.model.unet.model_copy(update=changes)
        params = loaded.model_copy(
            update={
                "model": loaded.model.model_copy(update={"unet": unet}),
                "train": loaded.train.model_copy(
                    update={"batch_size": options.batch, "microbatch": options.batch, "log_every": 1}
                ),
                "runtime": loaded.runtime.model_copy(update={"progress": False, "preview_every": 0}),
            }
        )
        networks[name] = measured(params, examples, device, options.steps, options.turns)
    result = {"batch": options.batch, "environment": runtime.environment(device), "networks": networks}
    command.tell(options.out, result)


def measured(params: Params, examples: Examples, device: torch.device, steps: int, turns: int) -> dict[str, Any]:
    """One network: parameters, size of a checkpoint, and its cost."""
    model = new_model(params, examples, device)
    state = TrainingState.new(model, params.train)
    batches = batches_of(params, examples, device)
    training = train(state, model, batches=batches, params=params.train, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointFolder(Path(folder))
        without: list[float] = []
        with_one: list[float] = []
        blocked: list[float] = []
        with checkpoints.locked(), checkpoints.writer() as writer:
            for turn in range(turns + 1):
                for save in (False, True) if turn % 2 else (True, False):
                    start = time.perf_counter()
                    if save:
                        writer.save(state, {})
                        blocked.append(time.perf_counter() - start)
                    for _ in range(steps):
                        next(training)
                    if save:
                        writer.finish()
                    if device.type == "cuda":
                        torch.cuda.synchronize()
                    if turn:
                        (with_one if save else without).append(time.perf_counter() - start)
        (newest, *_) = sorted(checkpoints.path.glob("step-*"), reverse=True)
        size = newest.stat().st_size
        resumed = first_step(params, examples, device, Path(folder))
    cost = max(0.0, statistics.median(with_one) - statistics.median(without))
    return {
        "parameters": sum(weights.numel() for weights in model.denoiser.parameters()),
        "checkpoint_mib": round(size / 2**20, 1),
        "milliseconds_a_step": round(1e3 * statistics.median(without) / steps, 1),
        "milliseconds_blocked": round(1e3 * statistics.median(blocked[1:]), 1),
        "milliseconds_a_checkpoint": round(1e3 * cost, 1),
        "share_every_30_seconds": round(cost / EVERY, 4),
        "seconds_to_the_first_step": round(resumed, 2),
    }


def first_step(params: Params, examples: Examples, device: torch.device, folder: Path) -> float:
    """Seconds from a checkpoint on disk to the end of the first step after it."""
    start = time.perf_counter()
    with contextlib.suppress(_FirstStepError):
        trained(params, examples, device, folder, _FirstStep())
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
