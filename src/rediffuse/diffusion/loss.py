"""The denoising loss w(t)·‖D(x_t) - x0‖², one number an example."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.prediction import PREDICTIONS
from rediffuse.diffusion.process import Process, add_noise
from rediffuse.diffusion.weighting import WEIGHTINGS
from rediffuse.networks import Condition


@dataclass(frozen=True, kw_only=True)
class DenoisingLoss:
    """The mean squared error of the clean image, weighted by noise level.

    Args:
        process: alpha(t) and sigma(t).
        prediction: what the network predicts, a key of PREDICTIONS.
        sigma_data: standard deviation of the data on [-1, 1].
        weighting: a key of WEIGHTINGS.
        settings: the weighting's own.
    """

    process: Process
    prediction: str
    sigma_data: float
    weighting: str = "plain"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def weight(self, t: Tensor) -> Tensor:
        """w at times B, in their dtype."""
        at = self.process.at(t)
        _, c_out = PREDICTIONS[self.prediction](at, self.sigma_data)
        return WEIGHTINGS[self.weighting](at, c_out, self.sigma_data, **self.settings).to(t.dtype)

    def __call__(self, denoiser: Denoiser, x0: Tensor, condition: Condition, noise: Tensor, t: Tensor) -> Tensor:
        """Clean images and noise B×C×H×W, times B -> the mean weighted error of each example, B."""
        denoised = denoiser(add_noise(self.process, x0, noise, t), t, condition)
        return self.weight(t) * (denoised - x0).square().flatten(1).mean(1)
