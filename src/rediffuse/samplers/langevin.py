"""Langevin dynamics at a fixed noise level: as a corrector between a sampler's steps, or alone, annealed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Point, Process, batch_time
from rediffuse.networks import Condition
from rediffuse.samplers.step import Noise, PerStep, Step, transition


def langevin_step(at: Point, x: Tensor, denoised: Tensor, size: float, noise: Noise) -> Tensor:
    """x + ε·score + √(2ε)·z with ε = size·sigma²: it leaves p_t as it is, but for an error of the order of size."""
    moved: Tensor = x + size * at.sigma**2 * at.score(x, denoised) + (2 * size) ** 0.5 * at.sigma * noise()
    return moved


@dataclass(frozen=True)
class PredictorCorrector:
    """Langevin steps at each time, before the predictor leaves it (Song et al., 2021, algorithms 2 to 5).

    x += ε·score + √(2ε)·z with ε = 2a·(r·σ_t)², a = α_ts² (1 where the signal is kept). In the paper it is
    ε = 2a·(r·‖z‖/‖score‖)², and the norms' ratio is σ_t where noise dominates. With norms over the batch an image
    depends on its batch mates, and with norms of its own the step depends on the draw, which the stationary
    distribution does not survive: its variance comes out 8 % too large in 64 dimensions, and 29 % in 16.

    Args:
        predictor: a sampler whose steps stand alone.
        steps: Langevin steps at each time.
        snr: r.
    """

    predictor: PerStep
    steps: int = 1
    snr: float = 0.16

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """See `Sampler`."""
        for i, (t, s) in enumerate(pairwise(times)):
            scale = float(transition(process.at(t), process.at(s))[0] ** 2) if s > 0 else 1.0
            for _ in range(self.steps):
                denoised = denoiser(x, batch_time(t, x), condition)
                x = langevin_step(process.at(t), x, denoised, 2 * scale * self.snr**2, noise)
            for step in self.predictor(denoiser, process, times[i : i + 2], x, condition, noise):
                x = step.x
                yield step


@dataclass(frozen=True)
class AnnealedLangevin:
    """Langevin dynamics at each noise level in turn, the last result denoised (Song & Ermon, 2019, alg. 1; 2020).

    x += ε·score + √(2ε)·z with ε = size·sigma_t²; their ε/sigma_min² is our size. Needs a process that keeps the
    signal: alpha = 1.

    Args:
        steps: T at each level.
        size: of a step, as a share of sigma_t².
    """

    steps: int = 5
    size: float = 0.062

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """See `Sampler`."""
        for t, s in pairwise(times):
            at = process.at(t)
            for _ in range(self.steps):
                denoised = denoiser(x, batch_time(t, x), condition)
                x = langevin_step(at, x, denoised, self.size, noise)
            if s == 0:
                x = denoised = denoiser(x, batch_time(t, x), condition)
            yield Step(t=float(s), x=x, denoised=denoised)
