"""Guidance: a denoiser around a denoiser, D_w = D_ref + w·(D - D_ref)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.networks import Condition


@dataclass(frozen=True)
class ClassifierFreeGuidance:
    """The reference is the same denoiser without the condition (Ho & Salimans, 2022, eq. 6, where their w is ours - 1).

    Both passes are one of twice the batch. At scale 1 the reference has no part, and is not computed.

    Args:
        denoiser: trained with some of its conditions dropped.
        scale: w; 0 ignores the condition, 1 is off, more exaggerates it.
    """

    denoiser: Denoiser
    scale: float

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As the denoiser: B×C×H×W, B and a condition -> B×C×H×W."""
        if self.scale == 1:
            return self.denoiser(x_t, t, condition)
        both = condition.concatenate(condition.null())
        conditional, reference = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), both).chunk(2)
        return torch.lerp(reference, conditional, self.scale)
