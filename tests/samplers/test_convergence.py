"""Samplers against denoisers that are known exactly: the order of their error, and the distribution they reach."""

import math

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import Ddpm, Edm, Process, Vp
from rediffuse.networks import Condition
from rediffuse.samplers import (
    GRIDS,
    AdaptiveOde,
    Ddim,
    DpmSolver,
    EulerMaruyama,
    Heun,
    PredictorCorrector,
    ReverseDiffusion,
    Sampler,
    SamplerSettings,
    build_sampler,
)
from tests.diffusion.analytic import CorrelatedDenoiser, GaussianDenoiser, MixtureDenoiser
from tests.diffusion.families import CONTINUOUS, PROCESSES
from tests.samplers.common import fresh, no_noise, prior, run


def order(sampler: Sampler, process: Process, denoiser, exact: Tensor | None = None, finer: int = 1) -> float:
    """Slope of log error against log step, over three step counts, along a part of the path without its end points."""
    low, high = (torch.tensor([v], dtype=torch.float64) for v in (0.05, 20.0))
    x = prior(process)
    counts, errors = [finer * count for count in (20, 55, 150)], []
    for steps in counts:
        levels = torch.exp(torch.linspace(math.log(high), math.log(low), steps + 1, dtype=torch.float64))
        times = process.time(levels)
        reference = denoiser.flow(x, float(times[0]), float(times[-1])) if exact is None else exact
        errors.append(float((run(sampler, denoiser, process, times, x) - reference).abs().max()))
    slope = torch.linalg.lstsq(
        torch.stack([torch.tensor(counts).double().log(), torch.ones(len(counts)).double()], 1),
        torch.tensor(errors).double().log()[:, None],
    ).solution[0]
    return -float(slope)


EACH = pytest.mark.parametrize("process", CONTINUOUS.values(), ids=CONTINUOUS)


@EACH
@pytest.mark.parametrize(
    ("sampler", "expected"),
    [(Ddim(), 1), (EulerMaruyama(eta=0.0), 1), (Heun(), 2), (DpmSolver(), 2)],
    ids=["ddim", "euler", "heun", "dpmpp_2m"],
)
def test_deterministic_samplers_converge_at_their_order(process: Process, sampler: Sampler, expected: int):
    # In t, some of these paths are far from straight: Euler shows its order only with short steps.
    finer = 16 if isinstance(sampler, EulerMaruyama) else 1
    got = order(sampler, process, GaussianDenoiser(process, 0.3, 0.5), finer=finer)
    assert got == pytest.approx(expected, abs=0.12 if expected == 1 else 0.3)


@pytest.mark.parametrize(("sampler", "expected"), [(Ddim(), 1), (Heun(), 2)], ids=["ddim", "heun"])
def test_on_ddpm_too_whose_path_has_a_kink_at_each_step(sampler: Sampler, expected: int):
    assert order(sampler, Ddpm(), GaussianDenoiser(Ddpm(), 0.3, 0.5)) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize(("sampler", "expected"), [(Ddim(), 1), (Heun(), 2), (DpmSolver(), 2)])
def test_the_order_holds_on_a_mixture(sampler: Sampler, expected: int):
    process = Edm()
    denoiser = MixtureDenoiser(process, (-0.8, 0.8), 0.2)
    levels = torch.exp(torch.linspace(math.log(20.0), math.log(0.05), 2001, dtype=torch.float64))
    exact = run(Heun(), denoiser, process, levels, prior(process))
    assert order(sampler, process, denoiser, exact) == pytest.approx(expected, abs=0.3)


STOCHASTIC = {
    "ancestral": ("ancestral", SamplerSettings()),
    "ancestral, process": ("ancestral", SamplerSettings(variance="process")),
    "ddim, eta 0.5": ("ddim", SamplerSettings(eta=0.5)),
    "heun, churn": ("heun", SamplerSettings(churn=40.0)),
    "dpmpp_2m_sde": ("dpmpp_2m_sde", SamplerSettings()),
    "euler_maruyama": ("euler_maruyama", SamplerSettings(eta=1.0)),
    "euler_maruyama, eta 1.5": ("euler_maruyama", SamplerSettings(eta=1.5)),
    "reverse_diffusion": ("reverse_diffusion", SamplerSettings()),
    "reverse_diffusion, corrected": ("reverse_diffusion", SamplerSettings(corrector_steps=1)),
}


def covariance(x: Tensor) -> Tensor:
    return torch.cov(x.flatten(1).T)


def standard_errors(exact: Tensor, count: int) -> Tensor:
    """Of the entries of a sample covariance of Gaussians: √((c_ii·c_jj + c_ij²) / count)."""
    variance = exact.diagonal()
    return ((variance[:, None] * variance[None] + exact**2) / count).sqrt()


# Ddpm is Vp's path with a kink at each of its steps.
@pytest.mark.parametrize(
    "process", [Edm(), pytest.param(Vp(), marks=pytest.mark.slow), Ddpm()], ids=["edm", "vp", "ddpm"]
)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_reach_the_mean_and_the_covariance_of_the_data(name: str, process: Process):
    count = 1500
    denoiser = CorrelatedDenoiser(process)
    # Steps even in the logarithm of the noise: 800 make a bias well below the 1500 images' standard error.
    times = GRIDS["uniform_log_snr"](process, 800)
    x = run(build_sampler(*STOCHASTIC[name]), denoiser, process, times, prior(process, count), fresh(count))
    mean_error = (x.flatten(1).mean(0) - denoiser.mean) / (denoiser.covariance.diagonal() / count).sqrt()
    assert mean_error.abs().max() < 4
    error = (covariance(x) - denoiser.covariance) / standard_errors(denoiser.covariance, count)
    assert error.abs().max() < 4


def test_annealed_langevin_reaches_them_with_many_steps_of_a_small_size():
    count = 1500
    process = PROCESSES["ncsn"]
    denoiser = CorrelatedDenoiser(process)
    sampler = build_sampler("annealed_langevin", SamplerSettings(langevin_steps=30, langevin_step=0.05))
    times = GRIDS["discrete"](process, 232)
    x = run(sampler, denoiser, process, times, prior(process, count), fresh(count))
    assert ((x.flatten(1).mean(0) - denoiser.mean) / (denoiser.covariance.diagonal() / count).sqrt()).abs().max() < 4
    error = (covariance(x) - denoiser.covariance) / standard_errors(denoiser.covariance, count)
    assert error.abs().max() < 4


@pytest.mark.parametrize("process", [Edm(), Vp()], ids=["edm", "vp"])
def test_the_corrector_improves_the_marginal_it_corrects(process: Process):
    """From a wrong spread, Langevin steps at a fixed time move the covariance towards that time's own."""
    count = 4000
    denoiser = CorrelatedDenoiser(process)
    t = process.time(torch.tensor([0.5, 0.499], dtype=torch.float64))
    exact = denoiser.noisy_covariance(t[0])
    mean = float(process.alpha(t[:1])) * denoiser.mean
    draw = fresh(count, seed=1)()
    wrong = (mean + 1.3 * draw.flatten(1) @ torch.linalg.cholesky(exact).T).reshape(draw.shape)

    class Still(ReverseDiffusion):
        """A predictor that stays where it is, so that only the corrector moves."""

        def step(self, t, s, x, denoised, noise):
            return x

    def distance(x: Tensor) -> float:
        return float((covariance(x) - exact).norm() / exact.norm())

    corrected = run(PredictorCorrector(Still(), steps=20, snr=0.16), denoiser, process, t, wrong, fresh(count))
    assert distance(wrong) > 0.5
    assert distance(corrected) < 0.5 * distance(wrong)


@pytest.mark.parametrize("process", [Edm(), Vp()], ids=["edm", "vp"])
def test_a_coarse_predictor_is_nearer_to_the_data_with_a_corrector(process: Process):
    count = 4000
    denoiser = CorrelatedDenoiser(process)
    times = GRIDS["uniform_log_snr"](process, 40)

    def distance(sampler: Sampler) -> float:
        x = run(sampler, denoiser, process, times, prior(process, count), fresh(count))
        return float((covariance(x) - denoiser.covariance).norm())

    assert distance(PredictorCorrector(ReverseDiffusion(), steps=2)) < 0.8 * distance(ReverseDiffusion())


def test_the_ancestral_steps_lose_less_variance_the_more_there_are():
    def lost(steps: int) -> float:
        process = Ddpm()
        count = 16_000
        times = GRIDS["trailing"](process, steps)
        x = run(
            build_sampler("ancestral"),
            GaussianDenoiser(process, 0.3, 0.5),
            process,
            times,
            prior(process, count),
            fresh(count),
        )
        return 0.5 - float(x.std())

    few, more, many = (lost(steps) for steps in (50, 100, 200))
    assert few > 1.6 * more > 1.6**2 * many > 0


@EACH
def test_the_adaptive_solver_is_exact_to_its_tolerance(process: Process):
    denoiser = GaussianDenoiser(process, 0.3, 0.5)
    times, x = GRIDS["uniform"](process, 4)[:-1], prior(process)
    exact = denoiser.flow(x, float(times[0]), float(times[-1]))
    errors = [float((run(AdaptiveOde(tol), denoiser, process, times, x) - exact).abs().max()) for tol in (1e-3, 1e-6)]
    # The prior of straight and cosine paths is scaled by 22,000, of which the tolerance is a share.
    assert errors[0] < 1e-2
    assert errors[1] < 1e-4 < 1
    assert errors[1] < errors[0] / 10


def test_an_example_that_is_no_number_any_more_ends_and_harms_no_other():
    process = Edm()
    denoiser = GaussianDenoiser(process, 0.3, 0.5)

    def broken(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        denoised = denoiser(x_t, t, condition)
        return torch.where((t < 1.0)[:, None, None, None] & (x_t == x_t[:1]), torch.nan, denoised)

    times, x = GRIDS["uniform_log_snr"](process, 4), prior(process, 3)
    out = run(AdaptiveOde(1e-4), broken, process, times, x)
    assert out[0].isnan().all()
    assert torch.equal(out[1:], run(AdaptiveOde(1e-4), denoiser, process, times, x)[1:])


def test_the_adaptive_solver_agrees_with_scipys_on_a_mixture():
    from scipy.integrate import solve_ivp

    process = Edm()
    denoiser = MixtureDenoiser(process, (-0.8, 0.8), 0.2)
    x = prior(process, 3)
    times = torch.tensor([80.0, 0.01], dtype=torch.float64)
    mine = run(AdaptiveOde(1e-7), denoiser, process, times, x)
    for start, end in zip(x, mine, strict=True):

        def slope(level: float, y, shape=start.shape):
            state = torch.from_numpy(y).reshape(1, *shape)
            at = torch.tensor([level], dtype=torch.float64)
            return ((state - denoiser(state, at, Condition())) / level).flatten().numpy()

        theirs = solve_ivp(slope, (80.0, 0.01), start.flatten().numpy(), rtol=1e-8, atol=1e-8, method="DOP853").y[:, -1]
        torch.testing.assert_close(end.flatten(), torch.from_numpy(theirs), atol=2e-5, rtol=0)


def test_the_last_step_gives_the_denoised_image_itself():
    process = Edm()
    for sampler in (Heun(), Ddim(), DpmSolver(), EulerMaruyama(0.0), AdaptiveOde(1e-2)):
        denoiser = GaussianDenoiser(process, 0, 1)
        *_, last = sampler(denoiser, process, GRIDS["karras"](process, 5), prior(process), Condition(), no_noise)
        torch.testing.assert_close(last.x, last.denoised, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["ddim", "heun", "dpmpp_2m", "euler_maruyama", "ode"])
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_every_deterministic_sampler_reaches_the_data_on_every_process(name: str, process: Process):
    count = 1500
    own = process.ladder()
    times = GRIDS["uniform_log_snr"](process, 230) if own is None else GRIDS["discrete"](process, min(230, len(own)))
    x = run(build_sampler(name), GaussianDenoiser(process, 0.3, 0.5), process, times, prior(process, count))
    assert float(x.mean()) == pytest.approx(0.3, abs=0.05)
    assert float(x.std()) == pytest.approx(0.5, rel=0.12)


def test_churn_stays_inside_its_levels_and_adds_noise_of_the_given_size():
    process = Edm()
    times = GRIDS["karras"](process, 20)
    asked = []

    def noise() -> Tensor:
        asked.append(1)
        return torch.zeros(64, 1, 2, 2, dtype=torch.float64)

    settings = SamplerSettings(churn=10.0, churn_levels=(0.1, 5.0))
    inside = int(((times >= 0.1) & (times <= 5.0)).sum())
    denoiser = GaussianDenoiser(process, 0.3, 0.5)
    run(build_sampler("heun", settings), denoiser, process, times, prior(process), noise)
    assert len(asked) == inside > 3
    seen = []

    def spy(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        seen.append(float(t[0]))
        return denoiser(x_t, t, condition)

    run(build_sampler("heun", settings), spy, process, times, prior(process), noise)
    at = float(times[times <= 5.0][0])
    assert any(level == pytest.approx(at * 1.5 if 10 / 20 < 2**0.5 - 1 else at * 2**0.5) for level in seen)
