"""What every sampler takes and yields."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process
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

    def evaluations(self, steps: int) -> int:
        """Calls of the denoiser for that many steps."""
        ...

    def __call__(
        self, denoiser: Denoiser, process: Process, times: Tensor, x: Tensor, condition: Condition, noise: Noise
    ) -> Iterator[Step]:
        """Follow decreasing `times` (float64, ending at 0) from x ~ prior; the caller keeps what it wants of each."""
        ...


def batch_time(t: Tensor, x: Tensor) -> Tensor:
    """One time as B equal ones, in the dtype and on the device of x."""
    return t.to(x).expand(len(x))
