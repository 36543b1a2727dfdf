"""The times a sampler visits: from the prior's down to 0, where the data is.

A new grid is a function here and a line in GRIDS.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rediffuse.diffusion.process import Process

Grid = Callable[[Process, int], Tensor]
"""(process, steps) -> steps + 1 decreasing times in float64, the last one 0."""


def uniform(process: Process, steps: int) -> Tensor:
    """Equal steps in t from t_max to t_min, then 0 (Song et al., 2021, their code)."""
    return _ending_at_data(torch.linspace(process.t_max, process.t_min, steps, dtype=torch.float64))


def uniform_log_snr(process: Process, steps: int) -> Tensor:
    """Equal steps in ln SNR, then 0 (Lu et al., 2022a)."""
    high, low = _ends(process).log()
    return _at_levels(process, torch.exp(torch.lerp(high, low, _shares(steps))))


def trailing(process: Process, steps: int) -> Tensor:
    """Equal steps in t from t_max to 0: the data's end is one step away (Lin et al., 2024, table 2)."""
    return process.t_max * torch.arange(steps, -1, -1, dtype=torch.float64) / steps


def karras(process: Process, steps: int, rho: float = 7.0) -> Tensor:
    """Equal steps in σ̃^(1/ρ), dense where the noise is low (Karras et al., 2022, eq. 5), then 0."""
    high, low = _ends(process) ** (1 / rho)
    return _at_levels(process, torch.lerp(high, low, _shares(steps)) ** rho)


def discrete(process: Process, steps: int) -> Tensor:
    """The process's own times, all or evenly chosen ones with the first and the last (Nichol & Dhariwal, 2021).

    Raises:
        ValueError: the process has fewer, or none of its own.
    """
    own = process.ladder()
    if own is None or len(own) < steps:
        has = "no steps of its own" if own is None else f"{len(own)} steps"
        raise ValueError(f"{steps} steps of a process that has {has}")
    chosen = torch.linspace(len(own) - 1, 0, steps, dtype=torch.float64).round().long()
    return _ending_at_data(own[chosen])


GRIDS: dict[str, Grid] = {
    "uniform": uniform,
    "uniform_log_snr": uniform_log_snr,
    "trailing": trailing,
    "karras": karras,
    "discrete": discrete,
}


def _ends(process: Process) -> Tensor:
    """The greatest and the least noise-to-signal ratio."""
    return process.at(torch.tensor([process.t_max, process.t_min], dtype=torch.float64)).noise_to_signal


def _shares(steps: int) -> Tensor:
    return torch.linspace(0, 1, steps, dtype=torch.float64)


def _at_levels(process: Process, levels: Tensor) -> Tensor:
    times = process.time(levels)
    times[0] = process.t_max
    return _ending_at_data(times)


def _ending_at_data(times: Tensor) -> Tensor:
    return torch.cat([times, times.new_zeros(1)])
