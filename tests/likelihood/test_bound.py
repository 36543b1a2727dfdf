"""The variational bound against its definition, and against the probabilities of quantised Gaussian data."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from rediffuse.diffusion import Cosine, Ddpm, Edm, Ve, expand
from rediffuse.likelihood import variational_bound
from rediffuse.likelihood.bound import discretised_gaussian
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from tests.diffusion.analytic import GaussianDenoiser

PROCESSES = {"ddpm": Ddpm(steps=20), "cosine": Cosine(offset=0.008, steps=20), "ve": Ve(sigma_max=1.0, steps=20)}
MEAN, STD = 0.1, 0.25


def quantised(count: int) -> Tensor:
    """Images of four pixels from N(MEAN, STD²), rounded to 8 bits."""
    x = MEAN + STD * torch.randn(count, 1, 2, 2, generator=generator(0, "x"))
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def draws(images: Tensor) -> Iterator[Tensor]:
    draw = generator(0, "noise")
    while True:
        yield torch.randn(images.shape, generator=draw)


def bound(process, images: Tensor, denoiser=None) -> Tensor:
    noise = draws(images)
    denoiser = denoiser or GaussianDenoiser(process, MEAN, STD)
    return variational_bound(denoiser, process, images, Condition(), lambda: next(noise))


def posterior(process, s: Tensor, t: Tensor, x_t: Tensor, x0: Tensor) -> Normal:
    """q(x_s | x_t, x0) by Bayes' rule: the precisions of q(x_s | x0) and of q(x_t | x_s) add up."""
    alpha_s, sigma_s, alpha_t, sigma_t = process.alpha(s), process.sigma(s), process.alpha(t), process.sigma(t)
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - (ratio * sigma_s) ** 2
    precision = 1 / sigma_s**2 + ratio**2 / added
    return Normal((alpha_s * x0 / sigma_s**2 + ratio * x_t / added) / precision, precision.rsqrt())


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_it_is_the_sum_of_the_divergences_that_define_it(process):
    images = quantised(5)

    def denoiser(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return torch.tanh(x_t / (expand(process.alpha(t), x_t) + expand(process.sigma(t), x_t)))

    x0, times, noise = images.double() / 127.5 - 1, process.ladder(), draws(images)
    last = times[-1]
    prior = Normal(0.0, process.sigma(last))
    expected = kl_divergence(Normal(process.alpha(last) * x0, process.sigma(last)), prior).flatten(1).sum(1)
    for i in range(len(times) - 1, -1, -1):
        t = times[i]
        x_t = process.alpha(t) * x0 + process.sigma(t) * next(noise)
        denoised = denoiser(x_t, t.expand(5), Condition())
        if i:
            kept, made = (posterior(process, times[i - 1], t, x_t, clean) for clean in (x0, denoised))
            expected += kl_divergence(kept, made).flatten(1).sum(1)
        else:
            expected -= discretised_gaussian(images, denoised, float(process.sigma(t)))
    torch.testing.assert_close(bound(process, images, denoiser), expected, rtol=1e-4, atol=1e-3)


def entropy(images: Tensor) -> float:
    """Mean -ln P of a pixel under the Gaussian that the images were drawn from."""
    data, k = Normal(MEAN, STD), images.double()
    return float(-(data.cdf((k + 0.5) / 127.5 - 1) - data.cdf((k - 0.5) / 127.5 - 1)).log().mean())


def test_it_comes_down_to_the_entropy_of_the_data_as_steps_are_added_between_the_same_ends():
    images = quantised(4000)
    above = [float(bound(Ve(steps=steps), images).mean()) / 4 - entropy(images) for steps in (30, 100, 300, 1000)]
    assert above[0] > 2 * above[1] > 2**2 * above[2] > 2**3 * above[3] > 0
    assert above[3] < 0.03


@pytest.mark.parametrize("process", [Ddpm(), Cosine(offset=0.008, steps=1000)], ids=["ddpm", "cosine"])
def test_it_is_above_the_entropy_of_the_data(process):
    # Posterior variances are too small for pixels as independent as these, in the first few steps above all.
    images = quantised(1000)
    assert 0 < float(bound(process, images).mean()) / 4 - entropy(images) < 0.5


def test_every_value_of_a_pixel_has_a_probability_and_together_they_are_sure():
    every = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    for mean, std in ((0.0, 0.3), (0.999, 0.01), (-1.3, 0.2), (0.2, 1e-3)):
        each = discretised_gaussian(every, torch.full((256, 1, 1, 1), mean), std)
        assert bool(torch.isfinite(each).all())
        assert float(each.exp().sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("value", "mean"), [(0, 0.5), (255, -0.5), (100, 0.9)])
def test_a_value_far_from_the_mean_keeps_its_digits(value: int, mean: float):
    std = 0.01
    image = torch.full((1, 1, 1, 1), value, dtype=torch.uint8)
    found = float(discretised_gaussian(image, torch.full((1, 1, 1, 1), mean), std))
    # ln of the upper tail beyond z is -z²/2 - ln(z·√2π) - 1/z², all but 3/z⁴.
    z = abs(value / 127.5 - 1 - mean) / std - 0.5 / (std * 127.5)
    assert found == pytest.approx(-(z**2) / 2 - math.log(z * math.sqrt(2 * math.pi)) - 1 / z**2, abs=1e-3)


def test_an_image_has_one_bound_whatever_its_batch_mates():
    process, images = PROCESSES["ddpm"], quantised(6)
    denoiser, noise = GaussianDenoiser(process, MEAN, STD), draws(images)
    each = [next(noise) for _ in range(process.steps)]

    def of(rows: list[int]) -> Tensor:
        chosen = iter(each)
        return variational_bound(denoiser, process, images[rows], Condition(), lambda: next(chosen)[rows])

    assert of([0, 1, 2, 3, 4, 5])[2] == of([5, 4, 2])[2] == of([2])[0]


def test_a_process_in_continuous_time_has_no_such_bound():
    with pytest.raises(ValueError, match=r"Edm\(.*\) has no steps of its own"):
        bound(Edm(), quantised(1))
