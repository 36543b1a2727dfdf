"""DDIM, and DDPM's ancestral steps, which are its noisy end."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rediffuse.diffusion.process import Point
from rediffuse.samplers.step import Noise, PerStep, transition


@dataclass(frozen=True)
class Ddim(PerStep):
    """x_s = α_s·D + σ_s·√(1 - η²τ)·ε + η·σ_s·√τ·z, τ = 1 - (α_t·σ_s / (α_s·σ_t))² (Song et al., 2021a, eq. 12).

    Args:
        eta: η; 0 is deterministic, the Euler step of the probability-flow ODE in sigma/alpha; 1 is `Ancestral` with the
            posterior's variance.
    """

    eta: float = 0.0

    def step(self, t: Point, s: Point, x: Tensor, denoised: Tensor, noise: Noise) -> Tensor:
        tau = 1 - (s.noise_to_signal / t.noise_to_signal) ** 2
        x = s.alpha * denoised + s.sigma * (1 - self.eta**2 * tau).sqrt() * t.eps(x, denoised)
        return x + self.eta * s.sigma * tau.sqrt() * noise() if self.eta else x


@dataclass(frozen=True)
class Ancestral(PerStep):
    """A draw from q(x_s | x_t, x0 = D) (Ho et al., 2020, eq. 6 and 7), with one of their two variances.

    Args:
        variance: `posterior`, β̃ = σ_s²·σ²_ts/σ_t², right where the data is one point; `process`, β = σ²_ts, right where
            it is standard normal (section 3.2).
    """

    variance: Literal["posterior", "process"] = "posterior"

    def step(self, t: Point, s: Point, x: Tensor, denoised: Tensor, noise: Noise) -> Tensor:
        ratio, variance = transition(t, s)
        share = s.sigma**2 / t.sigma**2
        mean = s.alpha * (variance / t.sigma**2) * denoised + ratio * share * x
        spread = variance * share if self.variance == "posterior" else variance
        return mean + spread.sqrt() * noise()
