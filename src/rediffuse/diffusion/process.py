"""Gaussian paths from data to noise: x_t = alpha(t)·x0 + sigma(t)·eps, with data at t = 0 and the prior at t = t_max.

A process says alpha and sigma; what follows from them stands here once. Noise-to-signal sigma/alpha, written σ̃ in the
papers, is the scale that all processes share: a network that knows σ̃ can be sampled along any of them.

A new process is a class like the two below and a line in PROCESSES.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor


class Process(Protocol):
    """A path from data to noise. Times and coefficients are tensors of one shape and dtype."""

    @property
    def t_min(self) -> float:
        """The least time a network is trained at; from there a sampler jumps to t = 0."""
        ...

    @property
    def t_max(self) -> float:
        """The time of the prior, N(0, sigma(t_max)²)."""
        ...

    @property
    def steps(self) -> int | None:
        """How many whole times there are between data and prior; None where time is continuous."""
        ...

    @property
    def usual_noise_levels(self) -> str:
        """The distribution of training times its authors use, a key of NOISE_LEVELS."""
        ...

    @property
    def usual_grid(self) -> str:
        """The times its authors sample at, a key of GRIDS."""
        ...

    def alpha(self, t: Tensor) -> Tensor:
        """The share of the signal, 1 at t = 0."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise, 0 at t = 0."""
        ...

    def time(self, noise_to_signal: Tensor) -> Tensor:
        """The inverse of `noise_to_signal`."""
        ...

    def uniform(self, u: Tensor) -> Tensor:
        """u in [0, 1) -> a training time, uniform over what the process calls its times."""
        ...


def noise_to_signal(process: Process, t: Tensor) -> Tensor:
    """σ̃ = sigma / alpha."""
    return process.sigma(t) / process.alpha(t)


def add_noise(process: Process, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = alpha·x0 + sigma·noise for images B×C×H×W and times B."""
    return expand(process.alpha(t), x0) * x0 + expand(process.sigma(t), x0) * noise


def expand(coefficient: Tensor, x: Tensor) -> Tensor:
    """B numbers as B×1×1×1, to multiply the images x."""
    return coefficient.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True, kw_only=True)
class Edm:
    """The variance-exploding path whose time is the noise level (Karras et al., 2022, table 1): alpha = 1, sigma = t.

    Args:
        sigma_min: least noise level, in units of the data.
        sigma_max: greatest noise level, so large that the data is lost in it.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    steps: ClassVar[None] = None
    usual_noise_levels: ClassVar[str] = "lognormal"
    usual_grid: ClassVar[str] = "karras"

    @property
    def t_min(self) -> float:
        return self.sigma_min

    @property
    def t_max(self) -> float:
        return self.sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time(self, noise_to_signal: Tensor) -> Tensor:
        return noise_to_signal

    def uniform(self, u: Tensor) -> Tensor:
        return self.t_min + u * (self.t_max - self.t_min)


@dataclass(frozen=True, kw_only=True)
class Ddpm:
    """The variance-preserving path in T steps with linear betas (Ho et al., 2020, section 2 and 4).

    alpha² = ᾱ_t = Π(1 - β_i), sigma² = 1 - ᾱ_t, t = 0, 1, ..., T; between two steps ln ᾱ is linear. The betas are
    stated for 1000 steps. With another T the same curve of ᾱ is cut into T pieces, so that ᾱ_T stays near 0: rerunning
    the linear betas over 100 steps would leave ᾱ_T = 0.364 and start sampling from a prior that is not the path's.

    Args:
        steps: T.
        beta_start: β_1 of 1000 steps.
        beta_end: β_1000 of 1000 steps.
    """

    steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    usual_noise_levels: ClassVar[str] = "uniform"
    usual_grid: ClassVar[str] = "uniform"

    @property
    def t_min(self) -> float:
        return 1.0

    @property
    def t_max(self) -> float:
        return float(self.steps)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self._log_alpha_bar(t) / 2).to(t.dtype)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(self._log_alpha_bar(t))).to(t.dtype)

    def time(self, noise_to_signal: Tensor) -> Tensor:
        # σ̃² = 1/ᾱ - 1
        descent = torch.log1p(noise_to_signal.double() ** 2)
        table = -_log_alpha_bars(self, str(noise_to_signal.device))
        right = torch.searchsorted(table, descent).clamp(1, self.steps)
        low, high = table[right - 1], table[right]
        return (right - 1 + ((descent - low) / (high - low)).clamp(0, 1)).to(noise_to_signal.dtype)

    def uniform(self, u: Tensor) -> Tensor:
        return 1 + torch.floor(u * self.steps).clamp(max=self.steps - 1)

    def _log_alpha_bar(self, t: Tensor) -> Tensor:
        """ln ᾱ in float64, where 1 - ᾱ of the first steps still has all its digits."""
        table = _log_alpha_bars(self, str(t.device))
        left = t.floor().long().clamp(0, self.steps - 1)
        return torch.lerp(table[left], table[left + 1], t.double() - left)


@lru_cache(maxsize=16)
def _log_alpha_bars(process: Ddpm, device: str) -> Tensor:
    """ln ᾱ_t for t = 0 ... T."""
    betas = torch.linspace(process.beta_start, process.beta_end, 1000, dtype=torch.float64)
    published = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0)])
    position = torch.arange(process.steps + 1, dtype=torch.float64) * (1000 / process.steps)
    left = position.floor().long().clamp(max=999)
    return torch.lerp(published[left], published[left + 1], position - left).to(device)


PROCESSES: dict[str, Callable[..., Process]] = {"ddpm": Ddpm, "edm": Edm}


def build_process(name: str, settings: Mapping[str, Any]) -> Process:
    """The process of that name."""
    return PROCESSES[name](**settings)
