"""Heun's second-order method on the probability-flow ODE, with churn (Karras et al., 2022, algorithms 1 and 2)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process, batch_time, noise_to_signal
from rediffuse.networks import Condition
from rediffuse.samplers.step import Noise, Step


@dataclass(frozen=True)
class Heun:
    """In y = x/alpha the ODE is dy/dσ̃ = (y - D)/σ̃, on every process: average the slopes at both ends of a step.

    The step onto σ̃ = 0, where there is no slope, is Euler's, which is D. With churn each step first goes back up to
    σ̂ = σ̃·(1 + γ), γ = min(churn/steps, √2 - 1), with fresh noise.

    Args:
        churn: S_churn; 0 is deterministic.
        levels: (S_min, S_max) of σ̃ between which it churns.
        churn_noise: S_noise, the standard deviation of the fresh noise.
    """

    churn: float = 0.0
    levels: tuple[float, float] = (0.0, math.inf)
    churn_noise: float = 1.0

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """See `Sampler`."""
        alpha = process.alpha(times)
        levels = noise_to_signal(process, times)
        gamma = min(self.churn / (len(times) - 1), math.sqrt(2) - 1)
        y = x / alpha[0]
        for i, (t, s) in enumerate(pairwise(times)):
            level, next_level, alpha_t, alpha_s = levels[i], levels[i + 1], alpha[i], alpha[i + 1]
            if gamma and self.levels[0] <= level <= self.levels[1]:
                # The prior's noise level is the process's last: there is nothing above it.
                risen = torch.minimum(level * (1 + gamma), levels[0])
                y = y + (risen**2 - level**2).sqrt() * self.churn_noise * noise()
                level, t = risen, process.time(risen) if risen < levels[0] else times[0]
                alpha_t = process.alpha(t)
            step = next_level - level
            denoised = denoiser(alpha_t * y, batch_time(t, x), condition)
            slope = (y - denoised) / level
            if next_level > 0:
                y_next = y + step * slope
                corrected = denoiser(alpha_s * y_next, batch_time(s, x), condition)
                y = y + step * (slope + (y_next - corrected) / next_level) / 2
            else:
                y = denoised
            yield Step(t=float(s), x=alpha_s * y, denoised=denoised)
