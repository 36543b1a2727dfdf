"""The best denoiser that knows of each pixel its mean and variance and nothing else: what a network has to beat."""

from dataclasses import dataclass

from torch import Tensor

from rediffuse.diffusion.process import Process, expand
from rediffuse.networks import Condition


@dataclass(frozen=True, eq=False)
class IndependentPixels:
    """E[x0 | x_t] for independent Gaussian pixels x0 ~ N(μ, s²): μ + αs²/(α²s² + σ²)·(x_t - αμ).

    In y = x_t/α it is μ + s²/(s² + σ̃²)·(y - μ), the Wiener filter of each pixel. On any data of this
    mean and variance no other linear function of each pixel alone has a smaller mean squared error.

    Args:
        process: alpha(t) and sigma(t).
        mean: μ of each pixel, C×H×W, on [-1, 1].
        variance: s² of each pixel, C×H×W; 0 for a pixel that never changes.
    """

    process: Process
    mean: Tensor
    variance: Tensor

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:  # noqa: ARG002
        """Noisy images B×C×H×W at times B -> the estimate of the clean ones; the condition has no part."""
        at = self.process.at(t)
        mean, variance = self.mean.double(), self.variance.double()
        y, level = x_t.double() / expand(at.alpha, mean[None]), expand(at.noise_to_signal, mean[None])
        return (mean + variance / (variance + level**2) * (y - mean)).to(x_t.dtype)
