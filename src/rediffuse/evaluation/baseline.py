"""What mean and variance of each pixel alone achieve: the scale beside the loss and the likelihood of a model."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rediffuse.diffusion import IndependentPixels, Process
from rediffuse.likelihood import LEVELS_PER_UNIT, bits_of_density

_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class PixelStatistics:
    """Mean and variance of each pixel of a set of images, on the scale of training, x = k/127.5 - 1.

    Args:
        mean: C×H×W, float64.
        variance: C×H×W, float64; over the images, of which there are N (not N - 1: 0 for one image).
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> "PixelStatistics":
        """Of uint8 images (N, C, H, W). Sums are of whole numbers, so the order of the images counts nothing."""
        shape = images.shape[1:]
        total, squares = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for first in range(0, len(images), _BLOCK):
            block = images[first : first + _BLOCK].astype(np.int64)
            total += block.sum(axis=0)
            squares += (block**2).sum(axis=0)
        count = len(images)
        # N·ΣK² - (ΣK)² is a whole number too: nothing is lost where a pixel hardly changes.
        variance = (count * squares - total**2) / (count * LEVELS_PER_UNIT) ** 2
        return cls(total / (count * LEVELS_PER_UNIT) - 1, variance)

    def denoiser(self, process: Process, device: torch.device) -> IndependentPixels:
        """The denoiser that knows no more, on the path of a model."""
        mean, variance = (torch.from_numpy(each).to(device) for each in (self.mean, self.variance))
        return IndependentPixels(process, mean, variance)

    def bits_per_dim(self, points: Tensor) -> Tensor:
        """Bits a dimension of dequantised images by independent Gaussians, (B,), float64.

        The variance of each pixel is that of its 8-bit values and of the noise that makes them continuous, uniform over
        a bin: a pixel that never changes keeps the 1/12 of the bin's width squared.

        Args:
            points: what `dequantise` gives, B×C×H×W.
        """
        x = points.double().cpu().numpy()
        variance = self.variance + 1 / (12 * LEVELS_PER_UNIT**2)
        log_density = -0.5 * ((x - self.mean) ** 2 / variance + np.log(2 * math.pi * variance))
        nats = log_density.reshape(len(x), -1).sum(axis=1)
        return bits_of_density(torch.from_numpy(nats), self.mean.size)
