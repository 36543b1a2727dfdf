"""Eight bits, bins and the constants between nats of a density and bits of an image."""

import math

import pytest
import torch

from rediffuse.likelihood import bits_of_bound, bits_of_density, dequantise
from rediffuse.randomness import generator

NOISE = torch.randint(0, 256, (500, 1, 4, 4), generator=generator(0, "x")).to(torch.uint8)


def test_uniform_noise_under_the_uniform_density_takes_eight_bits_a_pixel():
    x = dequantise(NOISE, 0, range(500))
    edge = 1 + 0.5 / 127.5
    density = torch.distributions.Uniform(-edge, edge)
    bits = bits_of_density(density.log_prob(x.clamp(-edge + 1e-6, edge - 1e-6)).flatten(1).sum(1), 16)
    torch.testing.assert_close(bits, torch.full_like(bits, 8.0))
    exact = torch.full((1,), 16 * math.log(256))
    torch.testing.assert_close(bits_of_bound(exact, 16), torch.full_like(exact, 8.0))


def test_a_smooth_density_takes_the_bits_of_its_probabilities():
    values = torch.arange(256, dtype=torch.float64)
    data = torch.distributions.Normal(0.1, 0.3)
    mass = data.cdf((values + 0.5) / 127.5 - 1) - data.cdf((values - 0.5) / 127.5 - 1)
    entropy = float(-(mass * mass.log2()).sum())
    images = torch.multinomial(mass, 200_000, replacement=True, generator=generator(0, "k")).to(torch.uint8)
    x = dequantise(images.reshape(1, 1, 1, -1), 0, [0]).double()
    bits = bits_of_density(data.log_prob(x).flatten(1).sum(1), 200_000)
    assert float(bits) == pytest.approx(entropy, abs=0.01)


def test_noise_stays_in_the_bin_around_the_value_that_training_sees_and_fills_it():
    x = dequantise(NOISE, 0, range(500)).double()
    away = (x - (NOISE.double() / 127.5 - 1)) * 127.5
    assert float(away.abs().max()) <= 0.5 + 1e-4
    assert float(away.mean()) == pytest.approx(0, abs=4 * math.sqrt(1 / 12 / away.numel()))
    assert float(away.var()) == pytest.approx(1 / 12, rel=0.05)


def test_an_images_noise_is_a_function_of_its_key():
    x = dequantise(NOISE, 0, range(500))
    assert torch.equal(dequantise(NOISE[[9, 4]], 0, [9, 4]), x[[9, 4]])
    assert not torch.equal(dequantise(NOISE[[9]], 1, [9]), x[[9]])
    assert not torch.equal(dequantise(NOISE[[9]], 0, [8]), x[[9]])
