"""The density that the probability-flow ODE gives an image (Song et al., 2021, eq. 39 and 40).

In y = x/α over κ = ln σ̃ the ODE is dy/dκ = y - D on every process. Along it ln p changes by -div(y - D) (Chen et al.,
2018, theorem 1), from the prior N(0, σ_T²) of x_T, which is N(0, σ̃_T²) of y_T, down to t_min:

    ln p(y) = ln N(y_T; 0, σ̃_T²) + ∫ div(y - D) dκ  from κ(t_min) to κ(t_max), along the path that starts at y.

The image is taken for y at t_min, not for x = α·y: what is left at t_min is image + σ̃·noise in the image's own scale,
so its density needs no factor of α(t_min). It is the density of the model's images with the noise of t_min on them.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rediffuse.diffusion import Denoiser, Process, noise_to_signal
from rediffuse.likelihood.solvers import Rates, Solver
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from rediffuse.samplers.ode import Field, flow_field

PROBE_STREAM = "likelihood/probe"


def log_density(
    denoiser: Denoiser, process: Process, x: Tensor, condition: Condition, solver: Solver, probe: Tensor | None = None
) -> Tensor:
    """ln p of images, in nats.

    Args:
        denoiser: D(x_t, t, condition), of each image by itself; its weights need no gradient.
        process: alpha(t) and sigma(t).
        x: B×C×H×W on [-1, 1], dequantised.
        condition: of the batch.
        solver: of the ODE.
        probe: B×C×H×W from `rademacher`: the divergence is estimated without bias by vᵀ·J·v (Hutchinson, 1990), with
            the one v an image for the whole way, so that a solver sees one smooth function. None: the exact trace, at
            one backward pass a dimension.

    Returns:
        B numbers, float64.
    """
    ends = torch.tensor([process.t_min, process.t_max], dtype=torch.float64)
    levels = noise_to_signal(process, ends)
    start, stop = levels.log().tolist()
    rates = _rates(flow_field(denoiser, process, condition), probe)
    y, divergence = solver(rates, x, start, stop)
    prior = -((y.double() / levels[1]) ** 2) / 2 - levels[1].log() - math.log(2 * math.pi) / 2
    return prior.flatten(1).sum(1) + divergence


def rademacher(shape: Sequence[int], seed: int, indices: Sequence[int]) -> Tensor:
    """Probes ±1 for the images of `indices`, B×shape, float32, each by its key (seed, index)."""
    draws = [generator(seed, PROBE_STREAM, index=index) for index in indices]
    return torch.stack([torch.randint(0, 2, tuple(shape), generator=draw) for draw in draws]).float() * 2 - 1


def _rates(field: Field, probe: Tensor | None) -> Rates:
    def rates(kappa: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            slope = field(kappa, y)
            divergence = _exact_trace(slope, y) if probe is None else _pulled(slope, y, probe)
        return slope.detach(), divergence

    return rates


def _pulled(slope: Tensor, y: Tensor, vector: Tensor, keep: bool = False) -> Tensor:
    """vᵀ·J·v of each image, B."""
    vector = vector.to(y)
    (pulled,) = torch.autograd.grad(slope, y, vector, retain_graph=keep)
    return (pulled * vector).flatten(1).sum(1)


def _exact_trace(slope: Tensor, y: Tensor) -> Tensor:
    basis: Callable[[int], Tensor] = torch.eye(y[0].numel(), dtype=y.dtype, device=y.device).__getitem__
    each = [_pulled(slope, y, basis(i).reshape(y[:1].shape).expand_as(y), keep=True) for i in range(y[0].numel())]
    return torch.stack(each).sum(0)
