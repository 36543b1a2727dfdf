"""The denoising loss of single images, as an attack reads it: at fixed noise levels, with fixed noise.

A model that has learned an image by heart takes noise off it better than off a new one (Carlini et al., 2023, section
5.1; Matsumoto et al., 2023). The weights of the training loss play no part: each level is brought to mean 0 and
variance 1 over all images that are compared, so that none dominates, and the levels are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rediffuse.diffusion import Denoiser, NetworkDenoiser, NoiseLevels, Process, add_noise
from rediffuse.evaluation.extractors.classifier import Images, Labels
from rediffuse.model import Model
from rediffuse.networks import Condition
from rediffuse.randomness import generator

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """A model as the attack sees it.

    Args:
        denoiser: D(x_t, t, condition), in fp32.
        process: its path.
        noise_levels: the distribution of its training times.
        labelled: whether it takes labels.
        device: where it is.
    """

    denoiser: Denoiser
    process: Process
    noise_levels: NoiseLevels
    labelled: bool
    device: torch.device

    @classmethod
    def of(cls, model: Model, device: torch.device) -> "Attacked":
        """A model in fp32, whatever it samples in: rounding is noise on a small difference."""
        own = model.denoiser
        plain = NetworkDenoiser(own.network, own.process, own.prediction, own.sigma_data)
        return cls(
            denoiser=plain,
            process=model.process,
            noise_levels=model.noise_levels,
            labelled=bool(model.classes),
            device=device,
        )


@torch.no_grad()
def denoising_losses(
    attacked: Attacked, images: Images, labels: Labels, *, levels: int, seed: int, use: str
) -> NDArray[np.float64]:
    """The mean squared error of the clean image, for each image and noise level, (N, levels).

    The levels are the midpoints of equal shares of those of the training. The noise of image i at a level is a function
    of (seed, use, level, i), so that two sets see the same. The network always sees batches of one size.

    Args:
        images: uint8, (N, C, H, W).
        labels: (N,), -1 for none.
    """
    times = attacked.noise_levels((torch.arange(levels) + 0.5) / levels)
    losses = np.empty(len(images) * levels)
    for first in range(0, len(losses), BATCH):
        pairs = [divmod(number, levels) for number in range(first, min(first + BATCH, len(losses)))]
        # Any pair may stand in the padding: nobody sees it.
        padded = [*pairs, *[pairs[0]] * (BATCH - len(pairs))]
        rows, steps = (list(column) for column in zip(*padded, strict=True))
        x0 = torch.from_numpy(images[rows]).to(attacked.device).float() / 127.5 - 1
        noise = _noise(padded, tuple(x0.shape[1:]), seed, use).to(attacked.device)
        t = times[steps].to(attacked.device)
        given = torch.from_numpy(labels[rows]).to(attacked.device) if attacked.labelled else None
        denoised = attacked.denoiser(add_noise(attacked.process, x0, noise, t), t, Condition(labels=given))
        each = (denoised - x0).double().square().flatten(1).mean(1)
        losses[first : first + len(pairs)] = each[: len(pairs)].cpu().numpy()
    return losses.reshape(len(images), levels)


def familiarity(*groups: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """For each group of losses (N, levels) a score an image, (N,): minus its loss, each level standardised over all.

    A level at which all losses are equal counts for nothing.
    """
    pooled = np.concatenate(groups)
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    return [-((losses - mean) * scale).mean(axis=1) for losses in groups]


def _noise(pairs: Sequence[tuple[int, int]], shape: tuple[int, ...], seed: int, use: str) -> Tensor:
    """On the CPU, so that it is the same on all devices."""
    return torch.stack(
        [
            torch.randn(shape, generator=generator(seed, f"{use}/noise", step=level, index=index))
            for index, level in pairs
        ]
    )
