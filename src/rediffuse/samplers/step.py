"""What every sampler takes and yields."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Point, Process, batch_time
from rediffuse.networks import Condition

Noise = Callable[[], Tensor]
"""Fresh standard normal noise of the batch's shape."""


@dataclass(frozen=True)
class Step:
    """The result of one step.

    Args:
        t: the time arrived at.
        x: the images there, B×C×H×W.
        denoised: the estimate of the clean images that the step was taken with.
    """

    t: float
    x: Tensor
    denoised: Tensor


class Sampler(Protocol):
    """A way from the prior to the data that sees only a denoiser, a process and a grid of times."""

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """Follow decreasing `times` (float64, ending at 0) from x ~ prior; the caller keeps what it wants of each.

        Args:
            denoiser: D(x_t, t, condition).
            process: alpha(t) and sigma(t).
            times: steps + 1 of them, on the CPU.
            x: B×C×H×W, the images at the first of the times.
            condition: of the batch.
            noise: asked for once for each draw; a deterministic sampler never asks.
        """
        ...


class PerStep(ABC):
    """A sampler whose step from t to s needs nothing of the steps before.

    The step onto t = 0 is the same for all of them: the denoised image, as E[x0 | x_t].
    """

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """See `Sampler`."""
        at = process.at(times[0])
        for t, s in pairwise(times):
            denoised = denoiser(x, batch_time(t, x), condition)
            if s > 0:
                ahead = process.at(s)
                x, at = self.step(at, ahead, x, denoised, noise), ahead
            else:
                x = denoised
            yield Step(t=float(s), x=x, denoised=denoised)

    @abstractmethod
    def step(self, t: Point, s: Point, x: Tensor, denoised: Tensor, noise: Noise) -> Tensor:
        """The images at s > 0 from those at t, and the estimate of the clean ones there."""


def transition(t: Point, s: Point) -> tuple[Tensor, Tensor]:
    """(α_t/α_s, σ²_ts = σ_t² - (α_t/α_s)²·σ_s²): mean and variance of x_t given x_s."""
    ratio = t.alpha / s.alpha
    return ratio, t.sigma**2 - (ratio * s.sigma) ** 2
