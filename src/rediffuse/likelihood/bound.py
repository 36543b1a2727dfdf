"""The variational bound of a process in whole steps, on images of 8 bits (Ho et al., 2020, eq. 5 and section 3.3).

For the times t_1 < ... < t_T of the process, t_0 = 0, and any α and σ:

    -ln P(x0) <= L_T + Σ L_i + L_0
    L_T = KL(q(x_T | x0) ‖ N(0, σ_T²)) = ½·SNR(t_T)·‖x0‖²
    L_i = KL(q(x_s | x_t, x0) ‖ p(x_s | x_t)) = ½·(SNR(s) - SNR(t))·‖x0 - D(x_t, t)‖²  for s = t_i, t = t_i+1
    L_0 = -Σ ln ∫ N(x; D(x_t, t), σ_t²) dx over the bin of each value, t = t_1

L_i is short because both Gaussians have the posterior's variance σ²_ts·σ_s²/σ_t², and means that differ by
α_s·σ²_ts/σ_t²·(x0 - D), with α_ts = α_t/α_s and σ²_ts = σ_t² - α_ts²·σ_s² (Kingma et al., 2021, eq. 13). L_0 is the
discretised Gaussian of Ho et al.'s eq. 13 with the variance σ²_ts at s = 0, which is their β_1; its outermost bins are
open.
"""

import torch
from torch import Tensor

from rediffuse.diffusion import Denoiser, Process, add_noise
from rediffuse.diffusion.process import batch_time
from rediffuse.likelihood.dequantisation import LEVELS_PER_UNIT
from rediffuse.networks import Condition
from rediffuse.samplers.step import Noise


@torch.no_grad()
def variational_bound(
    denoiser: Denoiser, process: Process, images: Tensor, condition: Condition, noise: Noise
) -> Tensor:
    """The bound on -ln P of each image, in nats, each term with one draw of the noise: T evaluations of the network.

    Args:
        denoiser: D(x_t, t, condition).
        process: with times of its own.
        images: B×C×H×W, uint8.
        condition: of the batch.
        noise: asked for once at each of the times, from t_T down.

    Returns:
        B numbers, float64.

    Raises:
        ValueError: the process has no times of its own.
    """
    times = process.ladder()
    if times is None:
        raise ValueError(f"{process} has no steps of its own to sum a bound over")
    x0 = images.float() / LEVELS_PER_UNIT - 1
    snr = process.at(times).snr.tolist()
    total: Tensor = snr[-1] / 2 * _squared(x0)
    for i in reversed(range(len(times))):
        t = batch_time(times[i], x0)
        denoised = denoiser(add_noise(process, x0, noise(), t), t, condition)
        if i > 0:
            total = total + (snr[i - 1] - snr[i]) / 2 * _squared(x0 - denoised)
        else:
            total = total - discretised_gaussian(images, denoised, float(process.sigma(times[0])))
    return total


def discretised_gaussian(images: Tensor, mean: Tensor, std: float) -> Tensor:
    """ln P of 8-bit images where each pixel is N(mean, std²) on [-1, 1], rounded to its value, the ends clipped; B.

    Args:
        images: B×C×H×W, uint8.
        mean: B×C×H×W.
        std: above 0.
    """
    k, centre = images.double(), (mean.double() + 1) * LEVELS_PER_UNIT
    low = torch.where(images > 0, (k - 0.5 - centre) / (std * LEVELS_PER_UNIT), -torch.inf)
    high = torch.where(images < 255, (k + 0.5 - centre) / (std * LEVELS_PER_UNIT), torch.inf)
    # Far out in the upper tail both integrals are 1; in the lower one they keep their digits.
    upper = low > 0
    low, high = torch.where(upper, -high, low), torch.where(upper, -low, high)
    far, near = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    return _sum(near + torch.log1p(-torch.exp(far - near)))


def _squared(x: Tensor) -> Tensor:
    return _sum(x.double().square())


def _sum(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)
