"""Every random number as a function of its key (seed, stream, step, index): nothing is drawn from a global generator.

Two numbers with different keys are independent, whichever process, worker or order draws them, so that a run resumed
at step k, or split over workers, draws what an uninterrupted run on one worker draws.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rediffuse.seeds import hashed_seed


def generator(
    seed: int, stream: str, step: int = 0, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator for one key.

    Args:
        seed: the experiment's seed, any integer.
        stream: what the numbers are for ("train/noise", "sample"); one name, one purpose.
        step: the optimizer step, or 0.
        index: the microbatch or the example within the step, or 0.
        device: where the numbers are drawn; a CPU and a CUDA generator give different numbers for one key.
    """
    return torch.Generator(device).manual_seed(hashed_seed(seed, stream, step, index))


@contextmanager
def seeded_global(
    seed: int, stream: str, step: int = 0, index: int = 0, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Key torch's global generators for the block, and put back what they were.

    For torch's own code that draws from nowhere else: the initial weights of its layers, and dropout.
    """
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(hashed_seed(seed, stream, step, index))
        yield
