"""Averages of weights whose profile is a power function of the step (Karras et al., 2024, section 3 and appendix C).

After step t the average is θ̂(t) = (γ+1)/t^(γ+1) · ∫ τ^γ θ(τ) dτ over 0 ... t, with θ constant during a step. It forgets
the start, needs no warm-up, and stretches with the training. Its length σ_rel is the standard deviation of the profile
as a share of t. From averages of two lengths, stored now and then, that of any other length follows afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LENGTHS = (0.05, 0.1)
"""What a training keeps (section 3.2)."""

LARGEST_ERROR = 0.1


@dataclass(frozen=True)
class Profile:
    """The weights that an average gives to the steps before it.

    Args:
        step: where the average stands, from 1.
        length: σ_rel, above 0 and below 0.28.
    """

    step: int
    length: float


def exponent(length: float) -> float:
    """The γ of 0 or more whose profile has that length: σ_rel² = (γ+1) / ((γ+2)²(γ+3)), eq. 123."""
    low, high = 0.0, 1 / length
    while low < (middle := (low + high) / 2) < high:
        longer = (middle + 1) / ((middle + 2) ** 2 * (middle + 3)) > length**2
        low, high = (middle, high) if longer else (low, middle)
    return low


def decay(step: int, gamma: float) -> float:
    """β after optimizer step `step` (from 1): (1 - 1/step)^(γ+1), eq. 127; 0 after the first."""
    return float((1 - 1 / step) ** (gamma + 1))


def coefficients(stored: Sequence[Profile], wanted: Profile) -> list[float]:
    """What to multiply stored averages with, so that their sum is nearest to the wanted one (algorithm 3).

    Least squares between the profiles, in float64 on the CPU, scaled to the sum 1 as in the authors' code.

    Raises:
        ValueError: the nearest is further off than LARGEST_ERROR of the wanted profile's root mean square.
    """
    products = _inner(*_columns(stored), *_rows(stored))
    onto = _inner(*_columns(stored), *_rows([wanted]))
    found = torch.linalg.solve(products, onto)
    found = found / found.sum()
    norm = _inner(*_columns([wanted]), *_rows([wanted]))
    error = float(((norm - 2 * found.T @ onto + found.T @ products @ found) / norm).clamp(min=0).sqrt())
    if error > LARGEST_ERROR:
        steps = len({profile.step for profile in stored})
        raise ValueError(
            f"an average whose profile {steps} snapshots give only with an error of {error:.0%}, above "
            f"{LARGEST_ERROR:.0%}; use a length nearer to {LENGTHS[0]} ... {LENGTHS[1]}, or more train.snapshots"
        )
    weights: list[float] = found[:, 0].tolist()
    return weights


def _columns(profiles: Sequence[Profile]) -> tuple[Tensor, Tensor]:
    """Steps and exponents, each N×1, float64."""
    steps = torch.tensor([profile.step for profile in profiles], dtype=torch.float64)
    gammas = torch.tensor([exponent(profile.length) for profile in profiles], dtype=torch.float64)
    return steps[:, None], gammas[:, None]


def _rows(profiles: Sequence[Profile]) -> tuple[Tensor, Tensor]:
    steps, gammas = _columns(profiles)
    return steps.T, gammas.T


def _inner(t_a: Tensor, gamma_a: Tensor, t_b: Tensor, gamma_b: Tensor) -> Tensor:
    """∫ p_a·p_b of every pair of profiles, eq. 151."""
    first, last = torch.minimum(t_a, t_b), torch.maximum(t_a, t_b)
    gamma = torch.where(t_a < t_b, gamma_b, gamma_a)
    return (gamma_a + 1) * (gamma_b + 1) * (first / last) ** gamma / ((gamma_a + gamma_b + 1) * last)
