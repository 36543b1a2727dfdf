"""Steps of the reverse-time SDE: Euler–Maruyama in t, and the reverse of the forward transition."""

from dataclasses import dataclass

from torch import Tensor

from rediffuse.diffusion.process import Point
from rediffuse.samplers.step import Noise, PerStep, transition


@dataclass(frozen=True)
class EulerMaruyama(PerStep):
    """x_s = x_t + (f·x_t - ½(1 + η²)·g²·score)·(s - t) + η·g·√(t - s)·z (Song et al., 2021, eq. 6 and 13).

    f·x_t - ½g²·score is the velocity of the path, which is finite also where there is no signal left.

    Args:
        eta: η; 1 is the reverse SDE, 0 the probability-flow ODE, more only noisier. Every η has the same marginals.
    """

    eta: float = 1.0

    def step(self, t: Point, s: Point, x: Tensor, denoised: Tensor, noise: Noise) -> Tensor:
        step = s.time - t.time
        ahead = x + step * t.velocity(x, denoised)
        if not self.eta:
            return ahead
        ahead = ahead - step * self.eta**2 / 2 * t.diffusion * t.score(x, denoised)
        return ahead + self.eta * (-step * t.diffusion).sqrt() * noise()


@dataclass(frozen=True)
class ReverseDiffusion(PerStep):
    """x_s = (2 - α_ts)·x_t + σ²_ts·score + σ_ts·z: the forward step turned round (Song et al., 2021, eq. 46)."""

    def step(self, t: Point, s: Point, x: Tensor, denoised: Tensor, noise: Noise) -> Tensor:
        ratio, variance = transition(t, s)
        return (2 - ratio) * x + variance * t.score(x, denoised) + variance.sqrt() * noise()
