"""The denoiser that knows mean and variance of each pixel: it is exact where they are all there is to know."""

import pytest
import torch

from rediffuse.diffusion import DenoisingLoss, IndependentPixels, Process, add_noise
from rediffuse.networks import Condition
from tests.diffusion.analytic import GaussianDenoiser
from tests.diffusion.families import PROCESSES


def times(process: Process) -> torch.Tensor:
    return torch.linspace(process.t_min, process.t_max, 7, dtype=torch.float64)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))
def test_on_gaussian_pixels_it_is_the_posterior_mean(process: Process):
    x0 = 0.3 + 0.5 * torch.randn(7, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = IndependentPixels(process, torch.full((1, 2, 2), 0.3), torch.full((1, 2, 2), 0.25))
    known = GaussianDenoiser(process, float(torch.tensor(0.3)), 0.5)
    x_t = add_noise(process, x0, torch.ones_like(x0), times(process))
    torch.testing.assert_close(ours(x_t, times(process), Condition()), known(x_t, times(process), Condition()))


def test_its_loss_is_the_posterior_variance_of_each_pixel_and_a_constant_pixel_costs_nothing():
    process = PROCESSES["edm"]
    mean, variance = torch.tensor([0.2, -1.0]).reshape(1, 1, 2), torch.tensor([0.5, 0.0]).reshape(1, 1, 2)
    draw = torch.Generator().manual_seed(0)
    count, level = 40_000, 0.6
    x0 = mean + variance.sqrt() * torch.randn(count, 1, 1, 2, generator=draw)
    noise = torch.randn(x0.shape, generator=draw)
    loss = DenoisingLoss(process=process, prediction="x0", sigma_data=0.5)
    each = loss(IndependentPixels(process, mean, variance), x0, Condition(), noise, torch.full((count,), level))
    # The mean over two pixels, of which one is known.
    assert float(each.mean()) == pytest.approx(0.5 * level**2 / (0.5 + level**2) / 2, rel=0.02)
    constant = IndependentPixels(process, mean, variance)(x0 + level * noise, torch.full((count,), level), Condition())
    assert torch.equal(constant[..., 1], x0[..., 1])
