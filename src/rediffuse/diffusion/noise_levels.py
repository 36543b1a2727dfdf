"""How training draws its times: a spread-out set of u in [0, 1) and a map from u to t.

A new distribution is a class with one call and a line in NOISE_LEVELS.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from rediffuse.diffusion.process import Process

NoiseLevels = Callable[[Tensor], Tensor]
"""u in [0, 1), B -> times, B; the quantile function of the distribution."""

Spread = Callable[[int, torch.Generator, torch.device | str], Tensor]
"""(count, generator, device) -> that many u in [0, 1), each uniform, together spread in some way."""

# The greatest float32 below 1, which is outside every quantile function.
_BELOW_ONE = 1 - 2**-24


def stratified(count: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """u_i = (i + U) / count with one U in [0, 1): every batch covers all noise levels (Kingma et al., 2021, app. I)."""
    offset = torch.rand(1, generator=generator, device=device)
    return ((torch.arange(count, device=device) + offset) / count).clamp(max=_BELOW_ONE)


def antithetic(count: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """Pairs u and 1 - u (Song et al., 2021, their code; Ho et al., 2020): each batch is centred."""
    half = torch.rand((count + 1) // 2, generator=generator, device=device)
    return torch.cat([half, 1 - half])[:count].clamp(max=_BELOW_ONE)


def independent(count: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """Each by itself."""
    return torch.rand(count, generator=generator, device=device)


SPREADS: dict[str, Spread] = {"stratified": stratified, "antithetic": antithetic, "independent": independent}


@dataclass(frozen=True)
class Uniform:
    """Uniform in the process's own times (Ho et al., 2020, algorithm 1)."""

    process: Process

    def __call__(self, u: Tensor) -> Tensor:
        return self.process.uniform(u)


@dataclass(frozen=True)
class UniformLogSnr:
    """Uniform in λ = ln SNR, from the process's greatest noise to its least (Kingma & Gao, 2023)."""

    process: Process

    def __call__(self, u: Tensor) -> Tensor:
        least, greatest = _log_ends(self.process, u.device)
        t = self.process.time(torch.exp(torch.lerp(least, greatest, u.double())))
        return _inside(self.process, t).to(u.dtype)


@lru_cache(maxsize=16)
def _log_ends(process: Process, device: torch.device) -> tuple[Tensor, Tensor]:
    """ln σ̃ at the process's least and greatest time, sent there once: to send it waits for the device."""
    # The cache outlives the inference mode it may be filled in.
    with torch.inference_mode(False):
        ends = torch.tensor([process.t_min, process.t_max], dtype=torch.float64)
        least, greatest = process.at(ends).noise_to_signal.log().to(device)
        return least, greatest


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
        return _inside(self.process, t).to(u.dtype)


def logit_normal(process: Process, mean: float = 0.0, std: float = 1.0, shift: float = 1.0) -> LogNormal:
    """logit(t) is normal on straight paths, then t -> shift·t / (1 + (shift - 1)·t) (Esser et al., 2024, eq. 19, 23).

    There σ̃ = t / (1 - t), so that ln σ̃ is logit(t), which the shift moves by its logarithm: a LogNormal, which means
    the same noise on every process.
    """
    return LogNormal(process, mean + math.log(shift), std)


NOISE_LEVELS: dict[str, Callable[..., NoiseLevels]] = {
    "uniform": Uniform,
    "uniform_log_snr": UniformLogSnr,
    "lognormal": LogNormal,
    "logitnormal": logit_normal,
}


def _inside(process: Process, t: Tensor) -> Tensor:
    return t.clamp(process.t_min, process.t_max)
