"""How many steps a learning-rate schedule is laid out for."""

import time
from collections.abc import Callable, Iterator

import torch
from torch.utils.data import DataLoader

UNLIMITED = 100_000
"""Steps of the schedule of a training whose time is not known."""

# The schedule should end before the time does, and both clocks wander by a few percent.
SHARE = 0.97


def steps_within(seconds: float, run: Callable[[int], None]) -> int:
    """How many steps `run` takes in so many seconds, judged by a short look.

    Args:
        run: takes so many steps and returns when they are done.
    """
    # What happens once: allocations, compilation.
    run(3)
    look, steps = min(seconds / 40, 3.0), 2
    while True:
        start = time.perf_counter()
        run(steps)
        spent = time.perf_counter() - start
        if spent >= look:
            return max(2, int(SHARE * seconds * steps / spent))
        steps *= 2


def endless(loader: "DataLoader[tuple[torch.Tensor, ...]]") -> Iterator[tuple[torch.Tensor, ...]]:
    """One pass after the other."""
    while True:
        yield from loader


def finish(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
