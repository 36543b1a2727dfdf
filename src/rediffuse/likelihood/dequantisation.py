"""From 8-bit images to points of a density and back to bits.

The model was trained on x = k/127.5 - 1 for the value k = 0 ... 255. Uniform noise over the bin of a value is therefore
centred on it, x = (k + u - ½)/127.5 - 1 with u in [0, 1): the mean density over the bin, of width 1/127.5, times the
width is the probability of k, and by Jensen's inequality the mean of -ln p bounds -ln P(k) from above (Theis et al.,
2016, section 3.1). A bin on [-1, 1] cut into 256, as in the papers' 2·(k + u)/256 - 1, would lie up to half a bin off.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rediffuse.randomness import generator

LEVELS_PER_UNIT = 127.5
STREAM = "likelihood/dequantise"


def dequantise(images: Tensor, seed: int, indices: Sequence[int]) -> Tensor:
    """A point of each pixel's bin.

    Args:
        images: B×C×H×W, uint8.
        seed: of the noise, drawn on the CPU, so that it is the same on all devices.
        indices: B of them; image i's noise has the key (seed, i).

    Returns:
        B×C×H×W, float32, a little beyond [-1, 1] at most.
    """
    draws = [generator(seed, STREAM, index=index) for index in indices]
    u = torch.stack([torch.rand(images.shape[1:], generator=draw) for draw in draws]).to(images.device)
    return (images.float() + u - 0.5) / LEVELS_PER_UNIT - 1


def bits_of_density(log_density: Tensor, dimensions: int) -> Tensor:
    """ln p of dequantised images, in nats, as bits a dimension of the 8-bit ones: -ln p/(d·ln 2) + log2(127.5)."""
    return -log_density / (dimensions * math.log(2)) + math.log2(LEVELS_PER_UNIT)


def bits_of_bound(bound: Tensor, dimensions: int) -> Tensor:
    """A bound on -ln P of 8-bit images, in nats, as bits a dimension; P is discrete, so no bin's width comes in."""
    return bound / (dimensions * math.log(2))
