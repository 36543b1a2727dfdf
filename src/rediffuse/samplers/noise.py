"""The noise of each image, by a key of its own, and between the noises of two keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rediffuse.randomness import generator
from rediffuse.samplers.step import Noise

STREAM = "sample"


@dataclass(frozen=True)
class NoiseKey:
    """Image `index` of a seed.

    Args:
        seed: any integer.
        index: from 0.
    """

    seed: int
    index: int = 0


@dataclass(frozen=True)
class Between:
    """A point on the great circle from the noise of one key to that of another, for a walk through the latent space.

    Args:
        start, stop: the keys.
        share: of the way, 0 to 1; at its ends exactly the noise of `start` or of `stop`.
    """

    start: NoiseKey
    stop: NoiseKey
    share: float


def noise_of(keys: Sequence[NoiseKey | Between], shape: Sequence[int], device: torch.device) -> Noise:
    """Fresh noise of a batch, B×shape at each call, each image's from its own key alone.

    It is drawn on the CPU, so that it is the same on all devices.
    """
    draws = [_draws(key) for key in keys]

    def noise() -> Tensor:
        # While the device is still at what it was told before: nobody waits for it here.
        drawn = torch.empty(len(draws), *shape, pin_memory=device.type == "cuda")
        for image, draw in zip(drawn, draws, strict=True):
            draw(image)
        return drawn.to(device, non_blocking=True)

    return noise


def slerp(start: Tensor, stop: Tensor, share: float) -> Tensor:
    """Spherical interpolation (Shoemake, 1985, section 3.3).

    Between two independent noises it stays as long as they are; a straight line would pass through shorter ones, which
    the denoiser has never seen.

    Args:
        start, stop: of the same shape.
        share: of the way, 0 to 1; the ends are exact.
    """
    if share in (0, 1):
        return stop if share else start
    a, b = start.double(), stop.double()
    angle = torch.acos((torch.sum(a * b) / (a.norm() * b.norm())).clamp(-1, 1))
    if angle.sin() < 1e-6:
        return torch.lerp(a, b, share).to(start.dtype)
    weights = torch.sin((1 - share) * angle) / angle.sin(), torch.sin(share * angle) / angle.sin()
    return (weights[0] * a + weights[1] * b).to(start.dtype)


def _draws(key: NoiseKey | Between) -> Callable[[Tensor], object]:
    """What fills an image with the next noise of a key."""
    if isinstance(key, NoiseKey):
        return partial(Tensor.normal_, generator=generator(key.seed, STREAM, index=key.index))
    start, stop = _draws(key.start), _draws(key.stop)

    def fill(image: Tensor) -> None:
        ends = torch.empty_like(image), torch.empty_like(image)
        start(ends[0])
        stop(ends[1])
        image.copy_(slerp(*ends, key.share))

    return fill
