"""What the tests of the samplers share."""

import torch
from torch import Tensor

from rediffuse.diffusion import Denoiser, Process
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from rediffuse.samplers import Noise, Sampler


def no_noise() -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def run(
    sampler: Sampler, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, noise: Noise = no_noise
) -> Tensor:
    *_, last = sampler(denoiser, process, times, x, Condition(), noise)
    assert last.t == times[-1]
    return last.x


def prior(process: Process, count: int = 64) -> Tensor:
    z = torch.randn(count, 1, 2, 2, generator=generator(0, "prior"), dtype=torch.float64)
    return z * process.sigma(torch.tensor([process.t_max], dtype=torch.float64))


def fresh(count: int, seed: int = 0) -> Noise:
    draw = generator(seed, "fresh")
    return lambda: torch.randn(count, 1, 2, 2, generator=draw, dtype=torch.float64)
