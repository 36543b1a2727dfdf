"""How probable the model makes new real images: bits a dimension over the test split, the mean and its standard error.

Each image's number is a function of the seed, its place in a hashed order and the model alone: its noise has its own
key, and the network always runs on batches of one size, the last one padded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rediffuse.data.dataset import Examples
from rediffuse.diffusion import Denoiser, NetworkDenoiser, Process
from rediffuse.evaluation.baseline import PixelStatistics
from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.subsets import hashed_order
from rediffuse.likelihood import (
    AdaptiveSolver,
    HeunSolver,
    bits_of_bound,
    bits_of_density,
    dequantise,
    log_density,
    rademacher,
    variational_bound,
)
from rediffuse.model import Model
from rediffuse.networks import Condition
from rediffuse.randomness import generator

BATCH = 64
EXACT_TRACE_DIMENSIONS = 16
"""Up to so many numbers an image the divergence is computed, above them estimated."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings:
    """What the numbers depend on beside the model and the images.

    Args:
        seed: key of all noise, and of the images' order.
        method: ode, bound, or none: not computed.
        solver: of ode: ode (adaptive) or heun.
        steps: of heun.
        tolerance: of the adaptive solver.
        images: of the test split, at most; two at least, or there is no standard error.
    """

    seed: int
    method: str
    solver: str
    steps: int
    tolerance: float
    images: int


def likelihood_metrics(
    model: Model, test: Examples, pixels: PixelStatistics, settings: LikelihoodSettings, device: torch.device
) -> dict[str, Any] | None:
    """The section `likelihood` of metrics/evaluate.json; None for the method none.

    Args:
        model: as it was trained: guidance leaves no density. For the method bound its process has steps of its own.
        test: the real test images.
        pixels: of the training images.
        settings: of the section `evaluate.likelihood`.
        device: where the model is.

    Returns:
        bits_per_dim with _low and _high (95 % over the images) and stderr; bits_per_dim_baseline: of independent
        Gaussian pixels, by the density of the same dequantised images; method; n.
    """
    if settings.method == "none":
        return None
    own = model.denoiser
    # Half precision would be an error that no tolerance bounds.
    denoiser = NetworkDenoiser(own.network, own.process, own.prediction, own.sigma_data)
    rows = hashed_order(test.ids, settings.seed, "likelihood")[: settings.images]
    bits: list[Tensor] = []
    baseline: list[NDArray[np.float64]] = []
    for start in range(0, len(rows), BATCH):
        wanted = range(start, min(start + BATCH, len(rows)))
        # Any image may stand in the padding: nobody sees it.
        indices = [*wanted, *[wanted[0]] * (BATCH - len(wanted))]
        places = [rows[i] for i in indices]
        images = torch.from_numpy(test.images[places]).to(device)
        condition = Condition(labels=torch.from_numpy(test.labels[places]).to(device) if model.classes else None)
        score = _bound if settings.method == "bound" else _ode
        bits.append(score(denoiser, model.process, images, condition, indices, settings)[: len(wanted)].cpu())
        baseline.append(pixels.bits_per_dim(dequantise(images, settings.seed, indices))[: len(wanted)])
    each = torch.cat(bits).numpy()
    interval = Estimate.of_mean(each.astype(np.float64))
    return {
        **interval.named("bits_per_dim"),
        "bits_per_dim": float(each.mean()),
        "bits_per_dim_baseline": float(np.concatenate(baseline).mean()),
        "stderr": float(each.std(ddof=1)) / math.sqrt(len(each)),
        "method": settings.method,
        "n": len(each),
    }


def describe_likelihood(settings: LikelihoodSettings, shape: tuple[int, int, int], test: int) -> dict[str, Any] | str:
    """The protocol of the numbers, for images of that shape and so many test images; in words why there are none."""
    if settings.method == "none":
        return "none: evaluate.likelihood.method is none"
    return {
        "method": settings.method,
        "how": _how(settings, shape),
        "images": min(settings.images, test),
        "split": f"test ({test} images)",
        "seed": settings.seed,
    }


def _how(settings: LikelihoodSettings, shape: tuple[int, int, int]) -> str:
    if settings.method == "bound":
        return "variational bound over all steps of the process, one draw of the noise a step and image"
    accuracy = f"tolerance {settings.tolerance:g}" if settings.solver == "ode" else f"{settings.steps} steps"
    trace = "exact divergence" if math.prod(shape) <= EXACT_TRACE_DIMENSIONS else "one Rademacher probe an image"
    return (
        f"probability-flow ODE, solver {settings.solver} ({accuracy}), {trace}, "
        "uniform dequantisation over bins of 1/127.5"
    )


def _ode(
    denoiser: Denoiser,
    process: Process,
    images: Tensor,
    condition: Condition,
    indices: Sequence[int],
    settings: LikelihoodSettings,
) -> Tensor:
    x, dimensions = dequantise(images, settings.seed, indices), images[0].numel()
    exact = dimensions <= EXACT_TRACE_DIMENSIONS
    probe = None if exact else rademacher(images.shape[1:], settings.seed, indices).to(images.device)
    solver = AdaptiveSolver(settings.tolerance) if settings.solver == "ode" else HeunSolver(settings.steps)
    return bits_of_density(log_density(denoiser, process, x, condition, solver, probe), dimensions)


def _bound(
    denoiser: Denoiser,
    process: Process,
    images: Tensor,
    condition: Condition,
    indices: Sequence[int],
    settings: LikelihoodSettings,
) -> Tensor:
    generators = [generator(settings.seed, "likelihood/noise", index=index) for index in indices]

    def noise() -> Tensor:
        return torch.stack([torch.randn(images.shape[1:], generator=each) for each in generators]).to(images.device)

    return bits_of_bound(variational_bound(denoiser, process, images, condition, noise), images[0].numel())
