"""Gaussian paths from data to noise: x_t = alpha(t)·x0 + sigma(t)·eps, with data at t = 0 and the prior at t = t_max.

A process says alpha and sigma, and the inverse of their ratio; all else follows from them in `Point`. Noise-to-signal
sigma/alpha, written σ̃ in the papers, is the scale that all processes share: a network that knows σ̃ can be sampled along
any of them.
"""

from abc import ABC, abstractmethod
from functools import cached_property, lru_cache

import torch
from torch import Tensor


class Process(ABC):
    """A path from data to noise. Times and coefficients are tensors of one shape and dtype."""

    t_min: float
    """The least time a network is trained at; from there a sampler jumps to t = 0."""

    t_max: float
    """The time of the prior, N(0, sigma(t_max)²)."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """The share of the signal, 1 at t = 0."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise, 0 at t = 0."""

    @abstractmethod
    def time(self, noise_to_signal: Tensor) -> Tensor:
        """The inverse of sigma/alpha."""

    def ladder(self) -> Tensor | None:
        """The increasing times of a process of whole steps, float64; None where time is continuous."""
        return None

    def at(self, t: Tensor) -> "Point":
        """What the path is at these times."""
        return Point(self, t)

    def uniform(self, u: Tensor) -> Tensor:
        """u in [0, 1) -> training times, uniform over the process's own."""
        steps = _ladder_on(self, u.device)
        if steps is None:
            return self.t_min + u * (self.t_max - self.t_min)
        return steps.to(u.dtype)[(u * len(steps)).long().clamp(max=len(steps) - 1)]


class Point:
    """A path at times t of any shape: the coefficients, in float64, and what turns one estimate into another.

    Args:
        process: whose path.
        t: times above 0; the derivatives are alpha's and sigma's own, by automatic differentiation.
    """

    def __init__(self, process: Process, t: Tensor) -> None:
        self._process = process
        self.time = t.double()
        self.alpha = process.alpha(self.time)
        self.sigma = process.sigma(self.time)

    @property
    def noise_to_signal(self) -> Tensor:
        """σ̃ = sigma / alpha."""
        return self.sigma / self.alpha

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio alpha² / sigma²."""
        return (self.alpha / self.sigma) ** 2

    @property
    def log_snr(self) -> Tensor:
        """λ = ln SNR."""
        return 2 * (self.alpha.log() - self.sigma.log())

    @property
    def alpha_rate(self) -> Tensor:
        """α', the derivative of alpha by t."""
        return self._rates[0]

    @property
    def sigma_rate(self) -> Tensor:
        """σ', the derivative of sigma by t."""
        return self._rates[1]

    @property
    def log_snr_rate(self) -> Tensor:
        """dλ/dt, which is negative."""
        return 2 * (self.alpha_rate / self.alpha - self.sigma_rate / self.sigma)

    @property
    def drift(self) -> Tensor:
        """f of the SDE dx = f·x dt + g dw: α'/α (Song et al., 2021, eq. 5, for these paths)."""
        return self.alpha_rate / self.alpha

    @property
    def diffusion(self) -> Tensor:
        """g² of the SDE: 2σ²(σ'/σ - α'/α)."""
        return -(self.sigma**2) * self.log_snr_rate

    def eps(self, x_t: Tensor, denoised: Tensor) -> Tensor:
        """The noise in x_t, where x0 is estimated to be `denoised`."""
        return (x_t - expand(self.alpha, x_t) * denoised) / expand(self.sigma, x_t)

    def score(self, x_t: Tensor, denoised: Tensor) -> Tensor:
        """The gradient of ln p_t(x_t), by Tweedie's formula."""
        return (expand(self.alpha, x_t) * denoised - x_t) / expand(self.sigma**2, x_t)

    def velocity(self, x_t: Tensor, denoised: Tensor) -> Tensor:
        """dx/dt of the probability-flow ODE, α'·x0 + σ'·eps, which is f·x_t - ½g²·score."""
        return expand(self.alpha_rate, x_t) * denoised + expand(self.sigma_rate, x_t) * self.eps(x_t, denoised)

    @cached_property
    def _rates(self) -> tuple[Tensor, Tensor]:
        # Samplers run in inference mode, whose tensors know no gradient; a clone made outside of it does.
        with torch.inference_mode(False), torch.enable_grad():
            t = self.time.clone().requires_grad_()
            # A coefficient that is constant has no gradient of its own.
            alpha, sigma = self._process.alpha(t) + 0 * t, self._process.sigma(t) + 0 * t
            (alpha_rate,) = torch.autograd.grad(alpha.sum(), t)
            (sigma_rate,) = torch.autograd.grad(sigma.sum(), t)
        return alpha_rate, sigma_rate


@lru_cache(maxsize=16)
def _ladder_on(process: Process, device: torch.device) -> Tensor | None:
    """A process's ladder there: sent once, because to send it waits for the device."""
    # The cache outlives the inference mode it may be filled in.
    with torch.inference_mode(False):
        steps = process.ladder()
        return None if steps is None else steps.to(device)


def batch_time(t: Tensor, x: Tensor) -> Tensor:
    """One time as B equal ones, in the dtype and on the device of x; `same_for_all` knows it on the CPU.

    Args:
        t: a number on the CPU; to send it would wait for the device, so the device is told it.
        x: B×....
    """
    value = float(t)
    times = x.new_full((len(x),), value)
    times.same_for_all = torch.tensor(value, dtype=x.dtype)  # type: ignore[attr-defined]
    return times


def same_for_all(t: Tensor) -> Tensor | None:
    """The one time of a whole batch as a number on the CPU, where `batch_time` made it; else None."""
    known: Tensor | None = getattr(t, "same_for_all", None)
    return known


def noise_to_signal(process: Process, t: Tensor) -> Tensor:
    """σ̃ = sigma / alpha, also at t = 0."""
    return process.sigma(t) / process.alpha(t)


def add_noise(process: Process, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = alpha·x0 + sigma·noise for images B×C×H×W and times B."""
    at = process.at(t)
    return expand(at.alpha, x0) * x0 + expand(at.sigma, x0) * noise


def expand(coefficient: Tensor, x: Tensor) -> Tensor:
    """B numbers as B×1×1×1, to multiply the images x; one number without a dimension stays one."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
