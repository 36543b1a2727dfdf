"""What mean and variance of each pixel achieve, against closed forms."""

import math

import numpy as np
import pytest
import torch

from rediffuse.evaluation.baseline import PixelStatistics
from rediffuse.likelihood import LEVELS_PER_UNIT, dequantise


def test_statistics_are_those_of_the_scaled_pixels_in_any_order():
    images = np.random.default_rng(0).integers(0, 256, (5000, 2, 3, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = 77
    ours = PixelStatistics.of(images)
    scaled = images.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(ours.mean, scaled.mean(axis=0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.variance, scaled.var(axis=0), rtol=1e-10, atol=1e-15)
    assert ours.variance[0, 0, 0] == 0
    other = PixelStatistics.of(images[::-1])
    assert (other.mean.tobytes(), other.variance.tobytes()) == (ours.mean.tobytes(), ours.variance.tobytes())


def test_gaussian_pixels_cost_their_entropy():
    """½·log2(2πe·s²) bits of each value k, whose spread s is many bins wide."""
    draw = np.random.default_rng(0)
    spread = np.array([10.0, 20.0, 5.0, 15.0]).reshape(1, 2, 2)
    train, test = (np.round(draw.normal(128, spread, (20_000, 1, 2, 2))).astype(np.uint8) for _ in range(2))
    bits = PixelStatistics.of(train).bits_per_dim(dequantise(torch.from_numpy(test), 0, range(len(test)))).numpy()
    # Rounding and its noise add a variance of 1/12 each.
    entropy = 0.5 * np.log2(2 * math.pi * math.e * (spread**2 + 1 / 6)).mean()
    assert bits.mean() == pytest.approx(entropy, abs=4 * bits.std() / math.sqrt(len(bits)))


def test_a_pixel_that_never_changes_costs_what_a_bin_costs_and_one_that_does_is_not_impossible():
    """The Gaussian of a bin's variance, 1/12 of its width squared: ½·log2(2πe/12) bits; k bins off 6k²·log2(e) more."""
    train = np.full((3, 1, 8, 8), 40, np.uint8)
    statistics = PixelStatistics.of(train)
    points = dequantise(torch.from_numpy(np.full((400, 1, 8, 8), 40, np.uint8)), 0, range(400))
    bits = statistics.bits_per_dim(points)
    assert bits.mean() == pytest.approx(0.5 * math.log2(2 * math.pi * math.e / 12), abs=0.005)
    off = statistics.bits_per_dim(points + 3 / LEVELS_PER_UNIT)
    assert (off - bits).mean() == pytest.approx(6 * 9 * math.log2(math.e), rel=1e-3)
