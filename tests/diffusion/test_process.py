"""The paths are the papers', and a noise level means the same on each of them."""

import math

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import PROCESSES as REGISTRY
from rediffuse.diffusion import Cosine, Ddpm, Edm, Flow, Process, SubVp, Ve, Vp, add_noise, noise_to_signal
from tests.diffusion.families import PROCESSES

EACH = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def inside(process: Process, count: int = 41) -> Tensor:
    """Times from end to end, even in the logarithm of the noise, none of them on a kink of DDPM's ᾱ."""
    low, high = process.at(torch.tensor([process.t_min, process.t_max], dtype=torch.float64)).noise_to_signal.log()
    t = process.time(torch.exp(torch.lerp(low, high, torch.linspace(0.01, 0.99, count, dtype=torch.float64))))
    return t.floor() + 0.5 if isinstance(process, Ddpm) else t


def test_every_process_of_the_registry_is_tested_here():
    assert {type(process) for process in PROCESSES.values()} == set(REGISTRY.values())


def test_ddpm_of_1000_steps_is_the_published_one():
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    t = torch.arange(1, 1001, dtype=torch.float64)
    torch.testing.assert_close(Ddpm().alpha(t) ** 2, alpha_bar, atol=1e-14, rtol=1e-12)
    torch.testing.assert_close(Ddpm().sigma(t) ** 2, 1 - alpha_bar, atol=1e-14, rtol=1e-10)


def test_the_other_paths_are_the_published_ones():
    t = torch.tensor([0.01, 0.3, 0.7, 0.95], dtype=torch.float64)
    vp = torch.exp(-0.25 * t**2 * (20 - 0.1) - 0.5 * t * 0.1)
    torch.testing.assert_close(Vp().alpha(t), vp)
    torch.testing.assert_close(Vp().sigma(t), (1 - vp**2).sqrt())
    torch.testing.assert_close(SubVp().alpha(t), vp)
    torch.testing.assert_close(SubVp().sigma(t), 1 - vp**2)
    torch.testing.assert_close(Ve().sigma(t), 0.01 * 5000**t)
    torch.testing.assert_close(Cosine().alpha(t), torch.cos(math.pi * t / 2))
    torch.testing.assert_close(Cosine().sigma(t), torch.sin(math.pi * t / 2))
    torch.testing.assert_close(Flow().alpha(t) + Flow().sigma(t), torch.ones_like(t))
    s = 0.008
    alpha_bar = (torch.cos((t + s) / (1 + s) * math.pi / 2) / math.cos(s / (1 + s) * math.pi / 2)) ** 2
    iddpm = Cosine(offset=s, steps=4000)
    torch.testing.assert_close(iddpm.alpha(t) ** 2, alpha_bar)
    torch.testing.assert_close(iddpm.sigma(t) ** 2, 1 - alpha_bar)


def test_ncsn_has_a_geometric_ladder_of_noise_levels():
    process = Ve(steps=232)
    published = torch.exp(torch.linspace(math.log(0.01), math.log(50), 232, dtype=torch.float64))
    torch.testing.assert_close(process.sigma(process.ladder()), published, rtol=1e-4, atol=0)


@pytest.mark.parametrize("steps", [2, 10, 100, 1000, 4000])
def test_the_prior_holds_for_any_number_of_steps(steps: int):
    last = Ddpm(steps=steps).alpha(torch.tensor([float(steps)], dtype=torch.float64))
    # Linear betas rerun over 100 steps would leave 0.364.
    assert float(last) ** 2 == pytest.approx(4.0e-5, rel=0.02)


@EACH
def test_data_is_at_zero_and_noise_only_grows(process: Process):
    t = torch.linspace(0, process.t_max, 200, dtype=torch.float64)
    assert float(process.alpha(t)[0]) == 1
    assert float(process.sigma(t)[0]) == 0
    assert (noise_to_signal(process, t).diff() > 0).all()


@EACH
def test_little_of_the_data_is_left_in_the_prior(process: Process):
    ends = process.at(torch.tensor([process.t_min, process.t_max], dtype=torch.float64))
    assert float(ends.noise_to_signal[0]) < 0.05
    assert float(ends.noise_to_signal[1]) >= 50
    assert ends.log_snr.isfinite().all()


@EACH
def test_time_inverts_noise_to_signal(process: Process):
    t = torch.linspace(process.t_min, process.t_max, 301, dtype=torch.float64)
    torch.testing.assert_close(process.time(noise_to_signal(process, t)), t, atol=1e-8, rtol=1e-8)


@EACH
def test_rates_are_the_derivatives_also_where_samplers_work(process: Process):
    t = inside(process)
    step = 1e-5 * t
    with torch.inference_mode():
        at = process.at(t.clone())
        rates = at.alpha_rate.clone(), at.sigma_rate.clone()
    for rate, function in zip(rates, (process.alpha, process.sigma), strict=True):
        numeric = (function(t + step) - function(t - step)) / (2 * step)
        torch.testing.assert_close(rate, numeric, rtol=1e-5, atol=1e-8)


@EACH
def test_drift_and_diffusion_move_the_moments_as_the_path_says(process: Process):
    """dm/dt = f·m and d(var)/dt = 2f·var + g² (Särkkä & Solin, 2019, eq. 5.50 and 5.51)."""
    at = process.at(inside(process))
    torch.testing.assert_close(at.drift * at.alpha, at.alpha_rate)
    torch.testing.assert_close(2 * at.drift * at.sigma**2 + at.diffusion, 2 * at.sigma * at.sigma_rate)
    assert (at.diffusion > 0).all()
    torch.testing.assert_close(at.log_snr_rate, -at.diffusion / at.sigma**2)


def test_drift_and_diffusion_are_the_published_ones():
    t = torch.tensor([0.05, 0.5, 0.9], dtype=torch.float64)
    beta = 0.1 + t * 19.9
    torch.testing.assert_close(Vp().at(t).drift, -beta / 2)
    torch.testing.assert_close(Vp().at(t).diffusion, beta)
    torch.testing.assert_close(SubVp().at(t).drift, -beta / 2)
    integral = 0.1 * t + 19.9 * t**2 / 2
    torch.testing.assert_close(SubVp().at(t).diffusion, beta * (1 - torch.exp(-2 * integral)))
    torch.testing.assert_close(Ve().at(t).drift, torch.zeros_like(t))
    torch.testing.assert_close(Ve().at(t).diffusion, Ve().sigma(t) ** 2 * 2 * math.log(5000))
    torch.testing.assert_close(Edm().at(t).diffusion, 2 * t)


@pytest.mark.parametrize("process", [Ddpm(), Ddpm(steps=10), Vp(), Cosine(), Cosine(offset=0.008)])
def test_variance_is_preserved_where_it_is_said_to_be(process: Process):
    t = torch.linspace(0, process.t_max, 50, dtype=torch.float64)
    torch.testing.assert_close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))


@pytest.mark.parametrize("process", [Ddpm(), Vp(), Cosine(), Cosine(offset=0.008)], ids=str)
def test_little_noise_keeps_its_digits_in_float32(process: Process):
    # 1 - alpha² in float32 would be wrong in the third digit.
    t = torch.tensor([process.t_min])
    exact = float((1 - process.alpha(t.double()) ** 2).sqrt())
    assert process.sigma(t).dtype == torch.float32
    assert float(process.sigma(t)) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("process", [Ddpm(steps=10), Cosine(steps=10), Ve(steps=10)], ids=str)
def test_uniform_times_reach_every_step_alike_and_no_other(process: Process):
    u = torch.linspace(0, 1 - 2**-24, 100_000, dtype=torch.float64)
    values, counts = torch.unique(process.uniform(u), return_counts=True)
    torch.testing.assert_close(values, process.ladder())
    assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize("process", [Vp(), Flow()], ids=str)
def test_uniform_times_of_a_continuous_process_go_from_end_to_end(process: Process):
    t = process.uniform(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    assert t.tolist() == pytest.approx([process.t_min, (process.t_min + process.t_max) / 2, process.t_max])


def test_noise_is_added_as_the_path_says():
    x0, noise = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), -1.0)
    x_t = add_noise(Edm(), x0, noise, torch.tensor([0.5, 2.0]))
    assert x_t[:, 0, 0, 0].tolist() == [2.5, 1.0]
