"""The times a sampler visits: from the prior's down to 0, where the data is.

A new grid is a function here and a line in GRIDS.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rediffuse.diffusion.process import Process, noise_to_signal

Grid = Callable[[Process, int], Tensor]
"""(process, steps) -> steps + 1 decreasing times in float64, the last one 0."""


def uniform(process: Process, steps: int) -> Tensor:
    """Equal steps in t. For DDPM with as many steps as the process has, T, T-1, ..., 1, 0 (Ho et al., 2020, alg. 2).

    Raises:
        ValueError: a process of whole steps has fewer of them.
    """
    times = process.t_max * torch.arange(steps, -1, -1, dtype=torch.float64) / steps
    if process.steps is None:
        return times
    if steps > process.steps:
        raise ValueError(f"{steps} steps of a process that has {process.steps}")
    return times.round()


def karras(process: Process, steps: int, rho: float = 7.0) -> Tensor:
    """Equal steps in σ̃^(1/ρ), dense where the noise is low (Karras et al., 2022, eq. 5), then 0."""
    ends = torch.tensor([process.t_max, process.t_min], dtype=torch.float64)
    high, low = noise_to_signal(process, ends) ** (1 / rho)
    levels = torch.lerp(high, low, torch.linspace(0, 1, steps, dtype=torch.float64)) ** rho
    times = process.time(levels)
    times[0] = process.t_max
    return torch.cat([times, times.new_zeros(1)])


GRIDS: dict[str, Grid] = {"uniform": uniform, "karras": karras}
