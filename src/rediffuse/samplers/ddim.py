"""DDIM: from t to s along the ODE, with a share eta of fresh noise (Song et al., 2021a, eq. 12)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process
from rediffuse.networks import Condition
from rediffuse.samplers.step import Noise, Step, batch_time


@dataclass(frozen=True)
class Ddim:
    """x_s = alpha_s·D + sigma_s·√(1 - η²τ)·eps + η·sigma_s·√τ·z, with τ = 1 - (alpha_t·sigma_s / (alpha_s·sigma_t))².

    Args:
        eta: η; 0 is deterministic, the Euler step of the probability-flow ODE in sigma/alpha; 1 is the ancestral step
            of DDPM with the posterior variance (Ho et al., 2020, eq. 7).
    """

    eta: float = 0.0

    def evaluations(self, steps: int) -> int:
        """Calls of the denoiser."""
        return steps

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """Follow `times` from x ~ prior, B×C×H×W; yields each step's result, the last one at t = 0."""
        alpha, sigma = process.alpha(times), process.sigma(times)
        for i, (t, s) in enumerate(pairwise(times)):
            denoised = denoiser(x, batch_time(t, x), condition)
            eps = (x - float(alpha[i]) * denoised) / float(sigma[i])
            tau = 1 - (alpha[i] * sigma[i + 1] / (alpha[i + 1] * sigma[i])) ** 2
            kept = sigma[i + 1] * (1 - self.eta**2 * tau).sqrt()
            fresh = float(self.eta * sigma[i + 1] * tau.sqrt())
            x = float(alpha[i + 1]) * denoised + float(kept) * eps
            if fresh > 0:
                x = x + fresh * noise()
            yield Step(t=float(s), x=x, denoised=denoised)
