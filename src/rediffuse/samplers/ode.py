"""The probability-flow ODE by an adaptive solver, each image with its own steps.

A library's solver has one step size for the whole batch, set by the norm over all of it, so that an image depends on
its batch mates. Here every image has its own time, its own step and its own error, in one batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process, batch_time, expand, noise_to_signal
from rediffuse.networks import Condition
from rediffuse.samplers.step import Noise, Step

Field = Callable[[Tensor, Tensor], Tensor]
"""(time B, state B×...) -> its derivative, B×..."""

# Dormand & Prince (1980), table 2: nodes, stages, and the fifth-order weights less the fourth-order ones.
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
_LEAST_STEP = 1e-6


def dormand_prince(
    field: Field, state: Tensor, start: float, stop: float, tolerance: float, step: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Integrate dx/dτ = field(τ, x) with the fifth-order pair and local extrapolation (Hairer et al., 1993, II.4).

    Args:
        field: of each example by itself.
        state: B×..., at `start`.
        start, stop: of τ, for all examples.
        tolerance: of the error of a step, relative and absolute, in the root mean square over an example.
        step: B first steps to try, in units of τ and positive; None for a hundredth of the way.

    Returns:
        the state at `stop`, and the steps to try from there, B.
    """
    direction = 1.0 if stop > start else -1.0
    way = abs(stop - start)
    count, device = len(state), state.device
    done = torch.zeros(count, dtype=torch.float64, device=device)
    step = torch.full_like(done, way / 100) if step is None else step
    first = field(start + direction * done, state)
    while bool((done < way).any()):
        size = torch.minimum(step, way - done)
        slopes = [first]
        for node, weights in zip(_NODES[1:], _STAGES[1:], strict=True):
            moved = sum((w * k for w, k in zip(weights, slopes, strict=True) if w), torch.zeros_like(state))
            moved = state + expand(direction * size, state) * moved
            slopes.append(field(start + direction * (done + node * size), moved))
        error = sum((w * k for w, k in zip(_ERROR, slopes, strict=True) if w), torch.zeros_like(state))
        error = expand(size, state) * error
        scale = tolerance * (1 + torch.maximum(state.abs(), moved.abs()))
        ratio = (error / scale).flatten(1).double().square().mean(1).sqrt()
        # An example that has arrived takes steps of no length, which change nothing. One that is no number any more is
        # let go, and ends as it is: no step would make it better.
        accepted = ~(ratio > 1) | (size <= _LEAST_STEP * way)
        state = torch.where(_like(accepted, state), moved, state)
        first = torch.where(_like(accepted, state), slopes[-1], first)
        # What rounding leaves of the way is none.
        arrived = accepted & (size >= way - done)
        done = torch.where(arrived, way, torch.where(accepted, done + size, done))
        proposed = size * (0.9 * ratio.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0)
        step = torch.where(size > 0, proposed, step).clamp(min=_LEAST_STEP * way)
    return state, step


def flow_field(denoiser: Denoiser, process: Process, condition: Condition) -> Field:
    """dy/dκ = y - D(α·y, t) for y = x/α and κ = ln σ̃: the probability-flow ODE of every process in one form.

    From dy/dσ̃ = (y - D)/σ̃ (Karras et al., 2022, eq. 4); κ instead of σ̃ makes the steps even.
    """

    def field(kappa: Tensor, y: Tensor) -> Tensor:
        t = process.time(torch.exp(kappa)).clamp(process.t_min, process.t_max)
        return y - denoiser(expand(process.alpha(t), y) * y, t.to(y.dtype), condition)

    return field


@dataclass(frozen=True)
class AdaptiveOde:
    """The probability-flow ODE (Song et al., 2021, eq. 13) from each time of the grid to the next, with bounded error.

    The grid only says where the result is shown; few times cost least.

    Args:
        tolerance: relative and absolute error of a step.
    """

    tolerance: float = 1e-4

    def __call__(
        self,
        denoiser: Denoiser,
        process: Process,
        times: Tensor,
        x: Tensor,
        condition: Condition,
        noise: Noise,  # noqa: ARG002  (one signature for all samplers)
    ) -> Iterator[Step]:
        """See `Sampler`."""
        field = flow_field(denoiser, process, condition)
        alpha, kappa = process.alpha(times), noise_to_signal(process, times).log().tolist()
        y, step = x / alpha[0], None
        for i, (t, s) in enumerate(pairwise(times)):
            if s > 0:
                y, step = dormand_prince(field, y, kappa[i], kappa[i + 1], self.tolerance, step)
                denoised = y - field(y.new_full((len(y),), kappa[i + 1], dtype=torch.float64), y)
            else:
                y = denoised = denoiser(alpha[i] * y, batch_time(t, y), condition)
            yield Step(t=float(s), x=alpha[i + 1] * y, denoised=denoised)


def _like(mask: Tensor, x: Tensor) -> Tensor:
    return mask.reshape(-1, *[1] * (x.ndim - 1))
