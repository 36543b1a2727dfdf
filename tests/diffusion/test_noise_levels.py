"""How times are drawn and how each counts: the published distributions and weights."""

import math

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import (
    NOISE_LEVELS,
    SPREADS,
    WEIGHTINGS,
    Cosine,
    Ddpm,
    DenoisingLoss,
    Edm,
    Flow,
    LogNormal,
    Process,
    Uncertainty,
    Ve,
    Vp,
    stratified,
)
from rediffuse.randomness import generator
from tests.diffusion.families import PROCESSES

SIGMA_DATA = 0.7


def test_stratified_times_cover_every_stratum_once():
    u = stratified(128, generator(0, "u"))
    assert (torch.floor(u * 128).sort().values == torch.arange(128)).all()
    assert not torch.equal(u, stratified(128, generator(0, "u", 1)))


def test_lognormal_levels_have_the_published_moments_and_stay_in_range():
    level = LogNormal(Edm())(stratified(200_000, generator(0, "u")).double())
    assert float(level.log().mean()) == pytest.approx(-1.2, abs=2e-3)
    assert float(level.log().std()) == pytest.approx(1.2, abs=2e-3)
    ends = LogNormal(Edm())(torch.tensor([0.0, 1 - 2**-24]))
    assert ends.isfinite().all()
    assert 0.002 <= float(ends[0]) < float(ends[1]) <= 80


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("name", NOISE_LEVELS)
def test_times_stay_inside_the_process_and_grow_with_u(process: Process, name: str):
    t = NOISE_LEVELS[name](process)(torch.linspace(0, 1 - 2**-24, 1001, dtype=torch.float64))
    assert float(t.min()) >= process.t_min * (1 - 1e-9)
    assert float(t.max()) <= process.t_max * (1 + 1e-9)
    assert (t.diff() >= 0).all()


@pytest.mark.parametrize("process", [Vp(), Cosine(), Edm(), Flow()], ids=str)
def test_uniform_log_snr_is_uniform_in_log_snr(process: Process):
    u = torch.linspace(0.05, 0.95, 50, dtype=torch.float64)
    steps = process.at(NOISE_LEVELS["uniform_log_snr"](process)(u)).log_snr.diff()
    torch.testing.assert_close(steps, steps[:1].expand(49), rtol=1e-6, atol=0)


def test_logitnormal_times_are_those_of_straight_paths_shifted_towards_noise():
    """Esser et al. (2024), eq. 19 and 23."""
    u = stratified(10_001, generator(0, "u")).double()
    plain = NOISE_LEVELS["logitnormal"](Flow(), mean=0.3, std=0.8)(u)
    logit = torch.logit(plain)
    assert float(logit.mean()) == pytest.approx(0.3, abs=1e-3)
    assert float(logit.std()) == pytest.approx(0.8, rel=2e-3)
    shifted = NOISE_LEVELS["logitnormal"](Flow(), mean=0.3, std=0.8, shift=3.0)(u)
    inner = (plain > 0.01) & (plain < 0.99)
    torch.testing.assert_close(shifted[inner], (3 * plain / (1 + 2 * plain))[inner])


def test_the_last_and_the_first_step_are_trained():
    t = Ddpm(steps=10).uniform(torch.tensor([0.0, 1 - 2**-24]))
    assert t.tolist() == [1.0, 10.0]


@pytest.mark.parametrize("name", SPREADS)
def test_each_spread_draws_uniform_numbers_below_one(name: str):
    draws = torch.cat([SPREADS[name](64, generator(0, "u", step), "cpu") for step in range(500)])
    assert draws.min() >= 0
    assert draws.max() < 1
    # 32,000 independent draws have a mean within 0.0016, and each tenth within 54 of 3,200, at one standard error.
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.007)
    assert (torch.histc(draws, 10, 0, 1) - 3200).abs().max() < 220


def test_antithetic_draws_come_in_pairs_that_add_to_one():
    u = SPREADS["antithetic"](9, generator(0, "u"), "cpu")
    torch.testing.assert_close(u[5:] + u[:4], torch.ones(4))
    assert float(u[4]) not in (1 - u[:4]).tolist()


def weight(name: str, process: Process, t: Tensor, prediction: str = "eps", **settings: float) -> Tensor:
    loss = DenoisingLoss(
        process=process, prediction=prediction, sigma_data=SIGMA_DATA, weighting=name, settings=settings
    )
    return loss.weight(t)


def test_weights_are_the_published_ones():
    t = torch.tensor([1.0, 30.0, 500.0, 1000.0], dtype=torch.float64)
    snr = (Ddpm().alpha(t) / Ddpm().sigma(t)) ** 2
    torch.testing.assert_close(weight("plain", Ddpm(), t, "eps"), snr)
    torch.testing.assert_close(weight("plain", Ddpm(), t, "v"), snr + 1)
    torch.testing.assert_close(weight("plain", Ddpm(), t, "x0"), torch.ones_like(t))
    torch.testing.assert_close(weight("snr", Ddpm(), t, "v"), snr)
    torch.testing.assert_close(weight("min_snr", Ddpm(), t, "v", gamma=5.0), snr.clamp(max=5))
    level = torch.tensor([0.002, 0.3, 80.0], dtype=torch.float64)
    karras = (level**2 + SIGMA_DATA**2) / (level * SIGMA_DATA) ** 2
    for name, prediction in (("plain", "edm"), ("edm", "eps"), ("edm2", "x0")):
        torch.testing.assert_close(weight(name, Edm(), level, prediction), karras)
    # Flow matching's error of the velocity x0 -> noise: u - u' = (D' - D) / t.
    s = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(weight("plain", Flow(), s, "velocity"), s**-2)
    # Song & Ermon (2019), eq. 6: sigma² times the squared error of a score whose network is right but for x0.
    sigma = Ve().sigma(s)
    torch.testing.assert_close(weight("ncsn", Ve(), s), sigma**2 * (1 / sigma**2) ** 2)


def test_the_likelihood_weight_is_half_the_descent_of_snr():
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    step = 1e-6
    snr = [Vp().at(t + side).snr for side in (-step, step)]
    torch.testing.assert_close(weight("likelihood", Vp(), t), (snr[0] - snr[1]) / (4 * step), rtol=1e-5, atol=0)


def test_the_sigmoid_weight_is_stated_for_eps_and_uniform_log_snr():
    """In eps it is sigmoid(b - λ) a unit of λ, on any process: x0's weight without SNR and dλ/dt."""
    for process in (Vp(), Cosine(), Flow()):
        t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
        at = process.at(t)
        in_eps = weight("sigmoid", process, t, bias=2.0) / at.snr / -at.log_snr_rate
        torch.testing.assert_close(in_eps, torch.sigmoid(2.0 - at.log_snr))


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_every_weight_is_a_positive_number_on_every_process(process: Process, name: str):
    t = process.uniform(torch.linspace(0, 1 - 2**-24, 101))
    for prediction in ("eps", "velocity", "edm"):
        w = weight(name, process, t, prediction)
        assert w.dtype == torch.float32
        assert w.isfinite().all()
        assert (w > 0).all()


def test_learned_uncertainty_ends_at_the_logarithm_of_the_loss():
    """Karras et al. (2024), eq. 21: the minimum of L·e^(-u) + u lies at u = ln L."""
    uncertainty = Uncertainty(Edm())
    assert uncertainty(torch.tensor([0.01, 1.0, 50.0])).tolist() == [0, 0, 0]
    t = torch.exp(torch.linspace(math.log(0.01), math.log(50.0), 64))
    losses = 0.1 + t.log().sin() ** 2
    optimizer = torch.optim.Adam(uncertainty.parameters(), lr=0.03)
    for _ in range(800):
        optimizer.zero_grad()
        uncertainty.balance(losses, t).mean().backward()
        optimizer.step()
    torch.testing.assert_close(uncertainty(t), losses.log(), atol=0.15, rtol=0)
    balanced = uncertainty.balance(losses, t)
    torch.testing.assert_close(balanced, losses * torch.exp(-uncertainty(t)) + uncertainty(t))
