"""A denoiser D(x_t, t, condition) estimates E[x0 | x_t]; a network becomes one through a prediction.

Everything a sampler needs is affine in D; see `process.Point`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rediffuse.diffusion.prediction import from_prediction, input_scale, noise_condition
from rediffuse.diffusion.process import Process, expand
from rediffuse.networks import Condition

Denoiser = Callable[[Tensor, Tensor, Condition], Tensor]
"""(x_t: B×C×H×W, t: B, condition) -> the estimate of x0, B×C×H×W."""


class NetworkDenoiser(nn.Module):
    """A network on a process: D = c_skip·x_t + c_out·F(c_in·x_t, c_noise, condition).

    The coefficients are computed in float64, and used in the dtype of x_t, whatever the network computes in.

    Args:
        network: F(x, c_noise, condition), B×C×H×W -> B×C×H×W.
        process: alpha(t) and sigma(t).
        prediction: what F predicts, a key of PREDICTIONS.
        sigma_data: standard deviation of the data on [-1, 1].
        autocast: the dtype the network computes in, bfloat16 say; None for that of its weights.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        prediction: str,
        sigma_data: float,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.process = process
        self.prediction = prediction
        self.sigma_data = sigma_data
        self.autocast = autocast

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Noisy images B×C×H×W at times B -> the estimate of the clean ones."""
        at = self.process.at(t)
        c_in, c_noise = input_scale(at, self.sigma_data), noise_condition(at).to(x_t.dtype)
        with torch.autocast(x_t.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            predicted = self.network(expand(c_in, x_t) * x_t, c_noise, condition)
        return from_prediction(self.prediction, predicted.to(x_t.dtype), x_t, at, self.sigma_data)
