"""Solvers that carry an image and the divergence gathered on its way, over κ = ln σ̃, up or down."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rediffuse.samplers.ode import dormand_prince

Rates = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(κ: B, float64; y: B×C×H×W) -> (dy/dκ, B×C×H×W; its divergence, B), of each image by itself."""


class Solver(Protocol):
    """A way through the ODE on which no image depends on its batch mates."""

    def __call__(self, rates: Rates, y: Tensor, start: float, stop: float) -> tuple[Tensor, Tensor]:
        """From y, B×C×H×W, at κ = start to (y at κ = stop, ∫ divergence dκ, B)."""
        ...


@dataclass(frozen=True)
class AdaptiveSolver:
    """Dormand and Prince's fifth-order pair with bounded error, each image with its own steps.

    The divergence of d dimensions is part of the state, divided by √d. In the root mean square over the d + 1 numbers
    its error a dimension then weighs as much as that of all pixels together, at any resolution.

    Args:
        tolerance: relative and absolute error of a step.
    """

    tolerance: float = 1e-4

    @torch.no_grad()
    def __call__(self, rates: Rates, y: Tensor, start: float, stop: float) -> tuple[Tensor, Tensor]:
        """See `Solver`."""
        scale = math.sqrt(y[0].numel())

        def field(kappa: Tensor, state: Tensor) -> Tensor:
            slope, divergence = rates(kappa, state[:, :-1].reshape(y.shape))
            return torch.cat([slope.flatten(1), divergence[:, None] / scale], 1)

        state = torch.cat([y.flatten(1), y.new_zeros(len(y), 1)], 1)
        state, _ = dormand_prince(field, state, start, stop, self.tolerance)
        return state[:, :-1].reshape(y.shape), state[:, -1] * scale


@dataclass(frozen=True)
class HeunSolver:
    """Heun's second-order method in equal steps of κ, two evaluations a step.

    The image's slope is averaged over σ̃, where the path is straight once D no longer changes (Karras et al., 2022,
    section 3); the divergence's over κ, where it is even.

    Args:
        steps: from one end to the other.
    """

    steps: int

    @torch.no_grad()
    def __call__(self, rates: Rates, y: Tensor, start: float, stop: float) -> tuple[Tensor, Tensor]:
        """See `Solver`."""
        step = (stop - start) / self.steps
        # h·dy/dσ̃ = (e^step - 1)·dy/dκ at the step's near end, and (1 - e^-step)·dy/dκ at its far end.
        near, far = math.expm1(step), -math.expm1(-step)
        gathered = y.new_zeros(len(y), dtype=torch.float64)
        for i in range(self.steps):
            kappa = gathered.new_full((len(y),), start + i * step)
            slope, divergence = rates(kappa, y)
            next_slope, next_divergence = rates(kappa + step, y + near * slope)
            y = y + (near * slope + far * next_slope) / 2
            gathered = gathered + step * (divergence + next_divergence) / 2
        return y, gathered
