"""Guidance: a denoiser around a denoiser, D_w = D_ref + w·(D - D_ref), away from a reference that is worse.

At w = 1 the reference has no part, nor has it outside the guided noise levels (Kynkäänniemi et al., 2024), and a pass
that has no part is not computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process, expand, same_for_all
from rediffuse.networks import Condition


@dataclass(frozen=True)
class GuidedLevels:
    """Where guidance is on: low < σ̃ <= high.

    Args:
        process: whose times are asked for.
        low, high: noise-to-signal ratios.
    """

    process: Process
    low: float
    high: float

    def __call__(self, t: Tensor) -> Tensor:
        """Times of any shape -> whether it is on there, bool."""
        level = self.process.at(t).noise_to_signal
        return (level > self.low) & (level <= self.high)


@dataclass(frozen=True)
class ClassifierFreeGuidance:
    """The reference is the same denoiser without the condition (Ho & Salimans, 2022, eq. 6, where their w is ours - 1).

    Both passes are one of twice the batch.

    Args:
        denoiser: trained with some of its conditions dropped.
        scale: w; 0 ignores the condition, 1 is off, more exaggerates it.
        levels: where it is on; None for everywhere.
    """

    denoiser: Denoiser
    scale: float
    levels: GuidedLevels | None = None

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As the denoiser: B×C×H×W, B and a condition -> B×C×H×W."""
        inside = _inside(self.scale, self.levels, t)
        if isinstance(inside, str) and inside == "none":
            return self.denoiser(x_t, t, condition)
        both = condition.concatenate(condition.null())
        conditional, reference = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), both).chunk(2)
        return _guided(conditional, reference, self.scale, inside)


@dataclass(frozen=True)
class Autoguidance:
    """The reference is a worse version of the model: a smaller one, or an earlier one (Karras et al., 2024b, eq. 3).

    Args:
        denoiser: the model.
        reference: the worse one, which sees the same condition.
        scale: w; 1 is off.
        levels: where it is on; None for everywhere.
    """

    denoiser: Denoiser
    reference: Denoiser
    scale: float
    levels: GuidedLevels | None = None

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As the denoiser: B×C×H×W, B and a condition -> B×C×H×W."""
        denoised = self.denoiser(x_t, t, condition)
        inside = _inside(self.scale, self.levels, t)
        if isinstance(inside, str) and inside == "none":
            return denoised
        return _guided(denoised, self.reference(x_t, t, condition), self.scale, inside)


@dataclass(frozen=True)
class Composition:
    """Several conditions at once, D_∅ + w·Σ w_i·(D_i - D_∅) (Liu et al., 2022: conjunction, negation below 0).

    With one condition and w_1 = 1 it is classifier-free guidance. Each pass is a batch by itself, so that an image does
    not depend on how many conditions there are beside its own.

    Args:
        denoiser: trained with some of its conditions dropped.
        conditions: of a batch; the condition that it is called with has no part.
        weights: w_i, B for each of the conditions; 0 where an example has fewer.
        scale: w.
        levels: where w is on, outside it is 1; None for everywhere.
    """

    denoiser: Denoiser
    conditions: Sequence[Condition]
    weights: Sequence[Tensor]
    scale: float = 1.0
    levels: GuidedLevels | None = None

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As the denoiser: B×C×H×W, B and a condition -> B×C×H×W."""
        reference = self.denoiser(x_t, t, condition.null())
        composed = torch.zeros_like(reference)
        for each, weights in zip(self.conditions, self.weights, strict=True):
            composed += expand(weights, reference) * (self.denoiser(x_t, t, each) - reference)
        inside = _inside(self.scale, self.levels, t)
        if isinstance(inside, str):
            return reference + (self.scale if inside == "all" else 1.0) * composed
        return reference + torch.where(expand(inside, reference).bool(), self.scale, 1.0) * composed


def _inside(scale: float, levels: GuidedLevels | None, t: Tensor) -> Tensor | Literal["all", "none"]:
    """Which examples are guided; of a batch that has one time, which is known on the CPU, without asking the device."""
    if scale == 1:
        return "none"
    if levels is None:
        return "all"
    time = same_for_all(t)
    if time is not None:
        return "all" if levels(time) else "none"
    inside = levels(t)
    return inside if bool(inside.any()) else "none"


def _guided(denoised: Tensor, reference: Tensor, scale: float, inside: Tensor | Literal["all"]) -> Tensor:
    guided = torch.lerp(reference, denoised, scale)
    return guided if isinstance(inside, str) else torch.where(expand(inside, denoised).bool(), guided, denoised)
