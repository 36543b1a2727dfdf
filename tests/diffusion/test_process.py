"""The paths are the papers', and a noise level means the same on each of them."""

import math

import pytest
import torch

from rediffuse.diffusion import Ddpm, Edm, add_noise, noise_to_signal

PROCESSES = [Ddpm(), Ddpm(steps=100), Ddpm(steps=7), Ddpm(steps=4000), Edm()]


def test_ddpm_of_1000_steps_is_the_published_one():
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    t = torch.arange(1, 1001, dtype=torch.float64)
    torch.testing.assert_close(Ddpm().alpha(t) ** 2, alpha_bar, atol=1e-14, rtol=1e-12)
    torch.testing.assert_close(Ddpm().sigma(t) ** 2, 1 - alpha_bar, atol=1e-14, rtol=1e-10)


@pytest.mark.parametrize("steps", [2, 10, 100, 1000, 4000])
def test_the_prior_holds_for_any_number_of_steps(steps: int):
    last = Ddpm(steps=steps).alpha(torch.tensor([float(steps)], dtype=torch.float64))
    # Linear betas rerun over 100 steps would leave 0.364.
    assert float(last) ** 2 == pytest.approx(4.0e-5, rel=0.02)


@pytest.mark.parametrize("process", PROCESSES)
def test_data_is_at_zero_and_noise_only_grows(process):
    t = torch.linspace(0, process.t_max, 200, dtype=torch.float64)
    assert float(process.alpha(t)[0]) == 1
    assert float(process.sigma(t)[0]) == 0
    assert (noise_to_signal(process, t).diff() > 0).all()


@pytest.mark.parametrize("process", [Ddpm(), Ddpm(steps=10)])
def test_ddpm_preserves_variance(process):
    t = torch.linspace(0, process.t_max, 50, dtype=torch.float64)
    torch.testing.assert_close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))


@pytest.mark.parametrize("process", PROCESSES)
def test_time_inverts_noise_to_signal(process):
    t = torch.linspace(process.t_min, process.t_max, 301, dtype=torch.float64)
    torch.testing.assert_close(process.time(noise_to_signal(process, t)), t, atol=1e-8, rtol=1e-8)


def test_the_first_steps_keep_their_digits_in_float32():
    # sqrt(1 - 0.9999) in float32 would be wrong in the third digit.
    sigma = Ddpm().sigma(torch.tensor([1.0]))
    assert sigma.dtype == torch.float32
    assert float(sigma) == pytest.approx(math.sqrt(1e-4), rel=1e-6)


def test_uniform_times_reach_the_first_and_the_last_step_and_no_other():
    u = torch.linspace(0, 1 - 2**-24, 100_000)
    t = Ddpm(steps=10).uniform(u)
    assert sorted(set(t.tolist())) == [float(step) for step in range(1, 11)]
    counts = torch.bincount(t.long())[1:]
    assert counts.max() - counts.min() <= 2


def test_noise_is_added_as_the_path_says():
    x0, noise = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), -1.0)
    x_t = add_noise(Edm(), x0, noise, torch.tensor([0.5, 2.0]))
    assert x_t[:, 0, 0, 0].tolist() == [2.5, 1.0]
