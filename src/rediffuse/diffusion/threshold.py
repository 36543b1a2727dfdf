"""Thresholds: a denoiser whose estimate of the clean image is kept where images are, on [-1, 1]."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.networks import Condition


@dataclass(frozen=True)
class StaticThreshold:
    """The estimate clipped to [-1, 1] (Ho et al., 2020, their code).

    Args:
        denoiser: any.
    """

    denoiser: Denoiser

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As the denoiser."""
        return self.denoiser(x_t, t, condition).clamp(-1, 1)


@dataclass(frozen=True)
class DynamicThreshold:
    """The estimate clipped to a quantile of its own pixels and scaled back to [-1, 1] (Saharia et al., 2022).

    Args:
        denoiser: any.
        quantile: of the absolute values of one image's pixels; what it gives below 1 counts as 1.
    """

    denoiser: Denoiser
    quantile: float = 0.995

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As the denoiser."""
        denoised = self.denoiser(x_t, t, condition)
        bound = torch.quantile(denoised.flatten(1).abs().float(), self.quantile, dim=1).clamp(min=1)
        bound = bound.to(denoised.dtype).reshape(-1, *[1] * (denoised.ndim - 1))
        return denoised.clamp(-bound, bound) / bound
