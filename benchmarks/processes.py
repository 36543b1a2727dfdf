"""What a step costs on one process and on two, with sums of a fixed order (exact) and torch's own (fast).

    python -m benchmarks.processes --device cpu --out benchmarks/results/processes-cpu.json

A step of one process computes both microbatches itself. The ways take turns, a few steps each, in one pair of
processes, so that whatever else the machine does meets all alike; figures are medians over the turns. Images are
random, because time is the question.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks import command
from benchmarks.repeat import batches_of, data, new_model
from rediffuse import runtime
from rediffuse.joining import joined
from rediffuse.params import Params, load_params
from rediffuse.processes import Processes
from rediffuse.training.gradients import Exact, Fast, Gradients
from rediffuse.training.trainer import StepResult, TrainingState, train

WAYS = ("one process", "two, exact", "two, fast")
_PIXELS: dict[str, Any] = {"patch": 1, "blocks": 2, "head_channels": 16}
UNETS = {
    "0.46 M": {**_PIXELS, "width": 32, "multipliers": (1, 1)},
    "15 M": {**_PIXELS, "width": 64, "multipliers": (1, 2, 4)},
}


@dataclass
class Way:
    """A training that takes a few steps at a time.

    Args:
        steps: one a turn.
        takes_part: whether this process computes.
        seconds: a step, of each turn.
    """

    steps: Iterator[StepResult]
    takes_part: bool
    seconds: list[float]

    def turn(self, steps: int, device: torch.device) -> None:
        """Take so many steps, while the other way's processes wait."""
        dist.barrier()
        start = time.perf_counter()
        if self.takes_part:
            for _ in range(steps):
                next(self.steps)
            if device.type == "cuda":
                torch.cuda.synchronize()
        dist.barrier()
        self.seconds.append((time.perf_counter() - start) / steps)


def setting(params: Params, batch: int, unet: dict[str, Any]) -> Params:
    """The default parameters with another network, and a batch of two microbatches."""
    train = {"steps": 10**6, "batch_size": batch, "microbatch": batch // 2, "snapshots": 0}
    network = params.model.unet.model_copy(update=unet)
    return params.model_copy(
        update={
            "model": params.model.model_copy(update={"name": "unet", "unet": network}),
            "train": params.train.model_copy(update=train),
        }
    )


def new_way(name: str, params: Params, device: torch.device, size: int, me: Processes) -> Way:
    """A training of its own, at its first step."""
    examples = data(1024, size, 1)
    model = new_model(params, examples, device)
    state = TrainingState.new(model, params.train)
    weights = list(state.trained.parameters())
    summing = Processes() if name == "one process" else me
    gradients: Gradients = Fast(state.trained, 2) if name == "two, fast" else Exact(weights, 2, summing)
    batches = batches_of(params, examples, device)
    steps = train(state, model, batches=batches, params=params.train, seed=0, gradients=gradients)
    return Way(steps, takes_part=me.first or name != "one process", seconds=[])


def measured(params: Params, device: torch.device, options: argparse.Namespace, me: Processes) -> dict[str, Any]:
    """Milliseconds a step of each way."""
    ways = {name: new_way(name, params, device, options.size, me) for name in WAYS}
    for turn in range(options.turns + 1):
        for way in ways.values():
            way.turn(options.steps, device)
            if not turn:
                # The first steps make what the others find.
                way.seconds.clear()
    median = {name: statistics.median(way.seconds) for name, way in ways.items()}
    weights = sum(each.numel() for each in new_model(params, data(2, options.size, 1), device).denoiser.parameters())
    # Of the same turn, because the machine may be busy for a while.
    pairs = zip(ways["two, exact"].seconds, ways["two, fast"].seconds, strict=True)
    return {
        "parameters": weights,
        "milliseconds_a_step": {name: round(1e3 * value, 2) for name, value in median.items()},
        "exact_over_fast": round(statistics.median(exact / fast for exact, fast in pairs), 3),
    }


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.bare(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4, help="a turn")
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()

    loaded = load_params(Path(__file__).parents[1] / "params.yaml")
    settings = {"device": options.device, "threads": 1, "processes": 2}
    with joined("benchmarks.processes", loaded.runtime.model_copy(update=settings)) as me:
        device = runtime.start(loaded.runtime.model_copy(update=settings))
        networks = {
            name: measured(setting(loaded, options.batch, unet), device, options, me) for name, unet in UNETS.items()
        }
        result = {
            "batch": options.batch,
            "microbatch": options.batch // 2,
            "images": [1, options.size, options.size],
            "environment": runtime.environment(device),
            "cores": os.cpu_count(),
            # Above the two that the benchmark itself makes, others had a share of the cores.
            "load": round(os.getloadavg()[0], 1),
            "networks": networks,
        }
    if me.first:
        command.tell(options.out, result)


if __name__ == "__main__":
    main()
