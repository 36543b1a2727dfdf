"""DPM-Solver++(2M) and its SDE form: two-step multistep methods in the logarithm of signal to noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process, batch_time, noise_to_signal
from rediffuse.networks import Condition
from rediffuse.samplers.step import Noise, Step


@dataclass(frozen=True)
class DpmSolver:
    """Exact for the linear part of the ODE, second order in the denoiser (Lu et al., 2022b, algorithm 2).

    With h = λ̂_s - λ̂_t, λ̂ = ln(α/σ), r = h_before/h and D̃ = D + (D - D_before)/(2r): the ODE's step is
    x_s = (σ_s/σ_t)·x_t + α_s(1 - e^(-h))·D̃, the SDE's x_s = (σ_s/σ_t)·e^(-h)·x_t + α_s(1 - e^(-2h))·D̃ +
    σ_s·√(1 - e^(-2h))·z. The first and the last step take D̃ = D.

    Args:
        stochastic: the SDE's form.
    """

    stochastic: bool = False

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """See `Sampler`."""
        alpha, sigma = process.alpha(times), process.sigma(times)
        levels = noise_to_signal(process, times)
        before: Tensor | None = None
        for i, (t, s) in enumerate(pairwise(times)):
            denoised = denoiser(x, batch_time(t, x), condition)
            # e^(-h), which is 0 for the step onto the data.
            decay = levels[i + 1] / levels[i]
            mixed = denoised
            if before is not None and s > 0:
                ratio = (levels[i - 1] / levels[i]).log() / (levels[i] / levels[i + 1]).log()
                mixed = denoised + (denoised - before) / (2 * ratio)
            kept = sigma[i + 1] / sigma[i]
            if self.stochastic:
                x = kept * decay * x + alpha[i + 1] * (1 - decay**2) * mixed
                x = x + sigma[i + 1] * (1 - decay**2).sqrt() * noise() if s > 0 else x
            else:
                x = kept * x + alpha[i + 1] * (1 - decay) * mixed
            before = denoised
            yield Step(t=float(s), x=x, denoised=denoised)
