"""What a network F predicts, as an affine map to the clean image: D = c_skip·x_t + c_out·F(c_in·x_t, c_noise).

One row a prediction, and no converters between pairs: all that a denoiser, a loss or a sampler wants follows from D.
A new prediction is a function of (point, sigma_data) and a line in PREDICTIONS.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rediffuse.diffusion.process import Point, expand

Coefficients = Callable[[Point, float], tuple[Tensor, Tensor]]
"""(path at times B, sigma_data) -> (c_skip, c_out), each B."""


def x0(at: Point, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is the clean image itself."""
    return torch.zeros_like(at.alpha), torch.ones_like(at.alpha)


def eps(at: Point, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is the noise (Ho et al., 2020, eq. 14): x0 = (x_t - sigma·eps) / alpha.

    NCSN's and the score SDEs' networks, whose output is divided by sigma, are this one with the opposite sign (Song &
    Ermon, 2020, technique 3).
    """
    return 1 / at.alpha, -at.sigma / at.alpha


def score(at: Point, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is the gradient of ln p_t (Song & Ermon, 2019, eq. 2): x0 = (x_t + sigma²·score) / alpha."""
    return 1 / at.alpha, at.sigma**2 / at.alpha


def v(at: Point, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is alpha·eps - sigma·x0 (Salimans & Ho, 2022, section 4), on any path, not only where alpha² + sigma² = 1."""
    norm = at.alpha**2 + at.sigma**2
    return at.alpha / norm, -at.sigma / norm


def velocity(at: Point, sigma_data: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """F is dx_t/dt = α'·x0 + σ'·eps (Lipman et al., 2023, eq. 15 for these paths)."""
    norm = at.alpha * at.sigma_rate - at.sigma * at.alpha_rate
    return at.sigma_rate / norm, -at.sigma / norm


def edm(at: Point, sigma_data: float) -> tuple[Tensor, Tensor]:
    """F is scaled so that its target has unit variance at every noise level (Karras et al., 2022, table 1)."""
    variance = (at.alpha * sigma_data) ** 2 + at.sigma**2
    return at.alpha * sigma_data**2 / variance, at.sigma * sigma_data / variance.sqrt()


PREDICTIONS: dict[str, Coefficients] = {
    "x0": x0,
    "eps": eps,
    "score": score,
    "v": v,
    "velocity": velocity,
    "edm": edm,
}


def from_prediction(prediction: str, value: Tensor, x_t: Tensor, at: Point, sigma_data: float) -> Tensor:
    """What a network predicted, B×C×H×W, as the estimate of the clean image."""
    c_skip, c_out = PREDICTIONS[prediction](at, sigma_data)
    return expand(c_skip, x_t) * x_t + expand(c_out, x_t) * value


def to_prediction(prediction: str, denoised: Tensor, x_t: Tensor, at: Point, sigma_data: float) -> Tensor:
    """An estimate of the clean image, B×C×H×W, as what a network of that prediction would have said."""
    c_skip, c_out = PREDICTIONS[prediction](at, sigma_data)
    return (denoised - expand(c_skip, x_t) * x_t) / expand(c_out, x_t)


def input_scale(at: Point, sigma_data: float) -> Tensor:
    """c_in = 1 / √(alpha²·sigma_data² + sigma²): what the network sees has unit variance."""
    return ((at.alpha * sigma_data) ** 2 + at.sigma**2).rsqrt()


def noise_condition(at: Point) -> Tensor:
    """c_noise = ¼ ln(sigma / alpha): the noise level as the network is told it."""
    return torch.log(at.noise_to_signal) / 4
