"""How training draws its times: a spread-out set of u in [0, 1) and a map from u to t.

A new distribution is a class with one call and a line in NOISE_LEVELS.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rediffuse.diffusion.process import Process

NoiseLevels = Callable[[Tensor], Tensor]
"""u in [0, 1), B -> times, B; the quantile function of the distribution."""


def stratified(count: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """u_i = (i + U) / count with one U in [0, 1): every batch covers all noise levels (Kingma et al., 2021, app. I)."""
    offset = torch.rand(1, generator=generator, device=device)
    # Rounding may give 1 for the last one, and 1 is outside every quantile function.
    return ((torch.arange(count, device=device) + offset) / count).clamp(max=1 - 2**-24)


@dataclass(frozen=True)
class Uniform:
    """Uniform in the process's own times (Ho et al., 2020, algorithm 1)."""

    process: Process

    def __call__(self, u: Tensor) -> Tensor:
        return self.process.uniform(u)


@dataclass(frozen=True)
class LogNormal:
    """ln σ̃ is normal (Karras et al., 2022, table 1), cut where the process ends.

    Args:
        process: whose times are drawn.
        mean: of ln σ̃; EDM's P_mean.
        std: of ln σ̃; EDM's P_std.
    """

    process: Process
    mean: float = -1.2
    std: float = 1.2

    def __call__(self, u: Tensor) -> Tensor:
        quantile = math.sqrt(2) * torch.erfinv(2 * u.double().clamp(min=2**-25) - 1)
        t = self.process.time(torch.exp(self.mean + self.std * quantile))
        return t.clamp(self.process.t_min, self.process.t_max).to(u.dtype)


NOISE_LEVELS: dict[str, Callable[..., NoiseLevels]] = {"uniform": Uniform, "lognormal": LogNormal}
