"""The processes of the papers. A new one is a class here and a line in PROCESSES."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from rediffuse.diffusion.process import Process

# Where alpha goes to 0, log SNR is cut at -20 (Salimans & Ho, 2022, appendix D).
GREATEST_NOISE_TO_SIGNAL = math.exp(10)


@dataclass(frozen=True, kw_only=True)
class Ddpm(Process):
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

    t_min = 1.0

    @property
    def t_max(self) -> float:  # type: ignore[override]
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

    def ladder(self) -> Tensor:
        return torch.arange(1, self.steps + 1, dtype=torch.float64)

    def _log_alpha_bar(self, t: Tensor) -> Tensor:
        """ln ᾱ in float64, where 1 - ᾱ of the first steps still has all its digits."""
        table = _log_alpha_bars(self, str(t.device))
        left = t.detach().floor().long().clamp(0, self.steps - 1)
        return torch.lerp(table[left], table[left + 1], t.double() - left)


@lru_cache(maxsize=16)
def _log_alpha_bars(process: Ddpm, device: str) -> Tensor:
    """ln ᾱ_t for t = 0 ... T."""
    # The cache outlives the inference mode it may be filled in.
    with torch.inference_mode(False):
        betas = torch.linspace(process.beta_start, process.beta_end, 1000, dtype=torch.float64)
        published = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0)])
        position = torch.arange(process.steps + 1, dtype=torch.float64) * (1000 / process.steps)
        left = position.floor().long().clamp(max=999)
        return torch.lerp(published[left], published[left + 1], position - left).to(device)


@dataclass(frozen=True, kw_only=True)
class Vp(Process):
    """The variance-preserving SDE with linear rate β(t) on [0, 1] (Song et al., 2021, eq. 33).

    Args:
        beta_min: β(0).
        beta_max: β(1).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    t_min = 1e-3
    t_max = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-_rate_integral(self.beta_min, self.beta_max, t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-_rate_integral(self.beta_min, self.beta_max, t)))

    def time(self, noise_to_signal: Tensor) -> Tensor:
        return _rate_integral_inverse(self.beta_min, self.beta_max, torch.log1p(noise_to_signal**2))


@dataclass(frozen=True, kw_only=True)
class SubVp(Process):
    """The sub-variance-preserving SDE: VP's alpha with less noise, sigma = 1 - alpha² (Song et al., 2021, eq. 29).

    Args:
        beta_min: β(0).
        beta_max: β(1).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    t_min = 1e-3
    t_max = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-_rate_integral(self.beta_min, self.beta_max, t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(-_rate_integral(self.beta_min, self.beta_max, t))

    def time(self, noise_to_signal: Tensor) -> Tensor:
        # σ̃ = 1/α - α = 2·sinh(-ln α)
        return _rate_integral_inverse(self.beta_min, self.beta_max, 2 * torch.asinh(noise_to_signal / 2))


def _rate_integral(beta_min: float, beta_max: float, t: Tensor) -> Tensor:
    """∫β = t·β_min + ½t²(β_max - β_min)."""
    return t * (beta_min + t * (beta_max - beta_min) / 2)


def _rate_integral_inverse(beta_min: float, beta_max: float, integral: Tensor) -> Tensor:
    return 2 * integral / (beta_min + torch.sqrt(beta_min**2 + 2 * (beta_max - beta_min) * integral))


@dataclass(frozen=True, kw_only=True)
class Cosine(Process):
    """alpha = cos(π/2 · (t + s)/(1 + s)) / cos(π/2 · s/(1 + s)), variance preserving (Nichol & Dhariwal, 2021, eq. 17).

    Args:
        offset: s; 0.008 in the paper, 0 in later ones.
        steps: T, whose times are k/T; 0 for continuous time.
    """

    offset: float = 0.0
    steps: int = 0

    @property
    def t_min(self) -> float:  # type: ignore[override]
        return 1 / self.steps if self.steps else 1e-3

    @property
    def t_max(self) -> float:  # type: ignore[override]
        return float(self.time(torch.tensor(GREATEST_NOISE_TO_SIGNAL, dtype=torch.float64)))

    @property
    def _start(self) -> float:
        return math.pi / 2 * self.offset / (1 + self.offset)

    def _angle(self, t: Tensor) -> Tensor:
        return math.pi / 2 * (t + self.offset) / (1 + self.offset)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(self._angle(t)) / math.cos(self._start)

    def sigma(self, t: Tensor) -> Tensor:
        # 1 - α² without the loss of digits: cos²a - cos²b = sin(b + a)·sin(b - a).
        angle, turned = self._angle(t), math.pi / 2 * t / (1 + self.offset)
        return torch.sqrt(torch.sin(angle + self._start) * torch.sin(turned)) / math.cos(self._start)

    def time(self, noise_to_signal: Tensor) -> Tensor:
        angle = torch.atan(torch.sqrt((noise_to_signal / math.cos(self._start)) ** 2 + math.tan(self._start) ** 2))
        return angle * (1 + self.offset) * 2 / math.pi - self.offset

    def ladder(self) -> Tensor | None:
        if not self.steps:
            return None
        return (torch.arange(1, self.steps + 1, dtype=torch.float64) / self.steps).clamp(max=self.t_max)


@dataclass(frozen=True, kw_only=True)
class Ve(Process):
    """The variance-exploding SDE, sigma geometric in t on (0, 1] (Song et al., 2021, eq. 31).

    With `steps` it is the ladder of noise levels of Song & Ermon (2019, 2020).

    Args:
        sigma_min: least noise level, in units of the data.
        sigma_max: greatest noise level.
        steps: number of levels; 0 for continuous time.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    steps: int = 0

    t_min = 1e-5
    t_max = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        # The formula leaves sigma_min at t = 0, where the data is.
        return torch.where(t > 0, self.sigma_min * (self.sigma_max / self.sigma_min) ** t, 0.0)

    def time(self, noise_to_signal: Tensor) -> Tensor:
        return torch.log(noise_to_signal / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)

    def ladder(self) -> Tensor | None:
        return torch.linspace(self.t_min, 1, self.steps, dtype=torch.float64) if self.steps else None


@dataclass(frozen=True, kw_only=True)
class Edm(Process):
    """The variance-exploding path whose time is the noise level (Karras et al., 2022, table 1): alpha = 1, sigma = t.

    Args:
        sigma_min: least noise level, in units of the data.
        sigma_max: greatest noise level, so large that the data is lost in it.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    @property
    def t_min(self) -> float:  # type: ignore[override]
        return self.sigma_min

    @property
    def t_max(self) -> float:  # type: ignore[override]
        return self.sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time(self, noise_to_signal: Tensor) -> Tensor:
        return noise_to_signal


@dataclass(frozen=True, kw_only=True)
class Flow(Process):
    """Straight lines from data to noise: alpha = 1 - t, sigma = t (Lipman et al., 2023; Liu et al., 2023)."""

    t_min = 1e-3
    t_max = GREATEST_NOISE_TO_SIGNAL / (1 + GREATEST_NOISE_TO_SIGNAL)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time(self, noise_to_signal: Tensor) -> Tensor:
        return noise_to_signal / (1 + noise_to_signal)


PROCESSES: dict[str, Callable[..., Process]] = {
    "ddpm": Ddpm,
    "vp": Vp,
    "subvp": SubVp,
    "cosine": Cosine,
    "ve": Ve,
    "edm": Edm,
    "flow": Flow,
}


def build_process(name: str, settings: Mapping[str, Any]) -> Process:
    """The process of that name."""
    return PROCESSES[name](**settings)
