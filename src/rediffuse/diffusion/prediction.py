"""What a network F predicts, as an affine map to the clean image: D = c_skip·x_t + c_out·F(c_in·x_t, c_noise).

One row a prediction, and no converters between pairs: all that a denoiser, a loss or a sampler wants follows from D.
A new prediction is a function of (alpha, sigma, sigma_data) and a line in PREDICTIONS.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Coefficients = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def x0(alpha: Tensor, sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is the clean image itself."""
    return torch.zeros_like(alpha), torch.ones_like(alpha)


def eps(alpha: Tensor, sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is the noise (Ho et al., 2020, eq. 14): x0 = (x_t - sigma·eps) / alpha."""
    return 1 / alpha, -sigma / alpha


def v(alpha: Tensor, sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is alpha·eps - sigma·x0 (Salimans & Ho, 2022, section 4), on any path, not only where alpha² + sigma² = 1."""
    norm = alpha**2 + sigma**2
    return alpha / norm, -sigma / norm


def edm(alpha: Tensor, sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """F is scaled so that its target has unit variance at every noise level (Karras et al., 2022, table 1)."""
    variance = (alpha * sigma_data) ** 2 + sigma**2
    return alpha * sigma_data**2 / variance, sigma * sigma_data / variance.sqrt()


PREDICTIONS: dict[str, Coefficients] = {"x0": x0, "eps": eps, "v": v, "edm": edm}


def input_scale(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    """c_in = 1 / √(alpha²·sigma_data² + sigma²): what the network sees has unit variance."""
    return ((alpha * sigma_data) ** 2 + sigma**2).rsqrt()


def noise_condition(alpha: Tensor, sigma: Tensor) -> Tensor:
    """c_noise = ¼ ln(sigma / alpha): the noise level as the network is told it."""
    return torch.log(sigma / alpha) / 4
