"""The denoising loss w(t)·‖D(x_t) - x0‖², one number an example."""

from dataclasses import dataclass

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.prediction import PREDICTIONS
from rediffuse.diffusion.process import Process, add_noise
from rediffuse.networks import Condition


@dataclass(frozen=True, kw_only=True)
class DenoisingLoss:
    """Weighted by w = 1 / c_out²: the plain mean squared error on what the network predicts.

    For eps this is SNR (Ho et al., 2020, eq. 14), for v on a variance-preserving path SNR + 1 (Salimans & Ho, 2022),
    for edm (σ̃² + sigma_data²) / (σ̃·sigma_data)² (Karras et al., 2022, table 1).

    Args:
        process: alpha(t) and sigma(t).
        prediction: whose weighting it is, a key of PREDICTIONS.
        sigma_data: standard deviation of the data on [-1, 1].
    """

    process: Process
    prediction: str
    sigma_data: float

    def weight(self, t: Tensor) -> Tensor:
        """w at times B."""
        _, c_out = PREDICTIONS[self.prediction](self.process.alpha(t), self.process.sigma(t), self.sigma_data)
        return c_out**-2

    def __call__(self, denoiser: Denoiser, x0: Tensor, condition: Condition, noise: Tensor, t: Tensor) -> Tensor:
        """Clean images and noise B×C×H×W, times B -> the mean weighted error of each example, B."""
        denoised = denoiser(add_noise(self.process, x0, noise, t), t, condition)
        return self.weight(t) * (denoised - x0).square().flatten(1).mean(1)
