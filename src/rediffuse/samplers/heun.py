"""Heun's second-order method on the probability-flow ODE (Karras et al., 2022, algorithm 1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process
from rediffuse.networks import Condition
from rediffuse.samplers.step import Noise, Step, batch_time


@dataclass(frozen=True)
class Heun:
    """In y = x/alpha the ODE is dy/dσ̃ = (y - D)/σ̃, on every process: average the slopes at both ends of a step.

    The step onto σ̃ = 0, where there is no slope, is Euler's, which is D.
    """

    def evaluations(self, steps: int) -> int:
        """Calls of the denoiser."""
        return 2 * steps - 1

    def __call__(
        self,
        denoiser: Denoiser,
        process: Process,
        times: Tensor,
        x: Tensor,
        condition: Condition,
        noise: Noise,  # noqa: ARG002  (one signature for all samplers)
    ) -> Iterator[Step]:
        """Follow `times` from x ~ prior, B×C×H×W; yields each step's result, the last one at t = 0."""
        alpha = process.alpha(times).tolist()
        level = (process.sigma(times) / process.alpha(times)).tolist()
        y = x / alpha[0]
        for i, (t, s) in enumerate(pairwise(times)):
            step = level[i + 1] - level[i]
            denoised = denoiser(alpha[i] * y, batch_time(t, x), condition)
            slope = (y - denoised) / level[i]
            y_next = y + step * slope
            if level[i + 1] > 0:
                corrected = denoiser(alpha[i + 1] * y_next, batch_time(s, x), condition)
                y_next = y + step * (slope + (y_next - corrected) / level[i + 1]) / 2
            else:
                y_next = denoised
            y = y_next
            yield Step(t=float(s), x=alpha[i + 1] * y, denoised=denoised)
