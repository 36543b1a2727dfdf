"""Samplers against denoisers that are known exactly, and against diffusers step by step."""

import math

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import Ddpm, Edm
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from rediffuse.samplers import GRIDS, Ddim, Heun, build_sampler
from tests.diffusion.analytic import GaussianDenoiser, MixtureDenoiser

PROCESSES = {"ddpm": Ddpm(), "edm": Edm()}


def no_noise() -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def run(sampler, denoiser, process, times: Tensor, x: Tensor, noise=no_noise) -> Tensor:
    *_, last = sampler(denoiser, process, times, x, Condition(), noise)
    assert last.t == times[-1]
    return last.x


def prior(process, count: int = 64) -> Tensor:
    z = torch.randn(count, 1, 2, 2, generator=generator(0, "prior"), dtype=torch.float64)
    return z * process.sigma(torch.tensor([process.t_max], dtype=torch.float64))


def order(sampler, process, denoiser, exact: Tensor | None) -> float:
    """Slope of log error against log step, over six step counts, along a part of the path without its end points."""
    low, high = (torch.tensor([v], dtype=torch.float64) for v in (0.05, 20.0))
    x = prior(process)
    counts, errors = [20, 30, 45, 68, 100, 150], []
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


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_ddim_converges_at_first_order(process):
    assert order(Ddim(), process, GaussianDenoiser(process, 0.3, 0.5), None) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_heun_converges_at_second_order(process):
    assert order(Heun(), process, GaussianDenoiser(process, 0.3, 0.5), None) == pytest.approx(2, abs=0.15)


def test_heun_converges_at_second_order_on_a_mixture():
    process = Edm()
    denoiser = MixtureDenoiser(process, (-0.8, 0.8), 0.2)
    levels = torch.exp(torch.linspace(math.log(20.0), math.log(0.05), 4001, dtype=torch.float64))
    exact = run(Heun(), denoiser, process, levels, prior(process))
    assert order(Heun(), process, denoiser, exact) == pytest.approx(2, abs=0.25)


def moments(sampler: str, process, grid: str, steps: int) -> tuple[float, float]:
    """Mean and standard deviation of 64,000 sampled pixels of N(0.3, 0.5²)."""
    draw = generator(0, "fresh")
    count = 16_000
    x = run(
        build_sampler(sampler),
        GaussianDenoiser(process, 0.3, 0.5),
        process,
        GRIDS[grid](process, steps),
        prior(process, count),
        lambda: torch.randn(count, 1, 2, 2, generator=draw, dtype=torch.float64),
    )
    return float(x.mean()), float(x.std())


@pytest.mark.parametrize(("process", "grid"), [("ddpm", "uniform"), ("ddpm", "karras"), ("edm", "karras")])
@pytest.mark.parametrize(("sampler", "bias"), [("ancestral", 0.04), ("ddim", 0.02), ("heun", 0.004)])
def test_samples_have_the_mean_and_spread_of_the_data(process: str, grid: str, sampler: str, bias: float):
    mean, std = moments(sampler, PROCESSES[process], grid, 250)
    standard_error = 0.5 / math.sqrt(64_000)
    assert mean == pytest.approx(0.3, abs=5 * standard_error + 0.001)
    assert std == pytest.approx(0.5, rel=bias + 4 / math.sqrt(2 * 64_000))


def test_the_ancestral_steps_lose_less_variance_the_more_there_are():
    lost = [0.5 - moments("ancestral", Ddpm(), "uniform", steps)[1] for steps in (50, 100, 200)]
    assert lost[0] > 1.6 * lost[1] > 1.6**2 * lost[2] > 0


def test_the_last_step_gives_the_denoised_image_itself():
    process = Edm()
    *_, last = Heun()(
        GaussianDenoiser(process, 0, 1), process, GRIDS["karras"](process, 5), prior(process), Condition(), no_noise
    )
    assert torch.equal(last.x, last.denoised)


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 7), ("heun", 7), ("ancestral", 3)])
def test_evaluations_are_counted_as_they_happen(sampler: str, steps: int):
    process = Edm()
    calls = []

    def denoiser(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        calls.append(float(t[0]))
        return torch.zeros_like(x_t)

    method = build_sampler(sampler)
    run(method, denoiser, process, GRIDS["karras"](process, steps), prior(process), lambda: torch.zeros(64, 1, 2, 2))
    assert len(calls) == method.evaluations(steps)


def test_karras_grid_is_the_published_one():
    times = GRIDS["karras"](Edm(), 18)
    i = torch.arange(18, dtype=torch.float64)
    published = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(times[:-1], published)
    assert times[-1] == 0


def test_uniform_grid_of_ddpm_visits_whole_steps_and_no_more_than_there_are():
    assert GRIDS["uniform"](Ddpm(steps=10), 10).tolist() == list(range(10, -1, -1))
    assert GRIDS["uniform"](Ddpm(), 4).tolist() == [1000, 750, 500, 250, 0]
    with pytest.raises(ValueError, match="11 steps of a process that has 10"):
        GRIDS["uniform"](Ddpm(steps=10), 11)


def model_output(process, x: Tensor, t: float, denoiser) -> Tensor:
    """The eps that a diffusers scheduler wants, of the same denoiser."""
    times = torch.full((len(x),), t, dtype=x.dtype)
    alpha, sigma = float(process.alpha(times[:1])), float(process.sigma(times[:1]))
    return (x - alpha * denoiser(x, times, Condition())) / sigma


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_is_diffusers_ddim_step_by_step(eta: float):
    from diffusers import DDIMScheduler

    process, denoiser = Ddpm(), MixtureDenoiser(Ddpm(), (-0.8, 0.8), 0.2)
    theirs = DDIMScheduler(1000, beta_schedule="linear", clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(20)
    times = GRIDS["uniform"](process, 20)
    # Their step index t is our t - 1.
    assert theirs.timesteps.tolist() == [int(t) - 1 for t in times[:-1]]
    x = prior(process, 8)
    zs = [torch.randn(x.shape, generator=generator(0, "z", k), dtype=x.dtype) for k in range(20)]
    fresh = iter(zs)
    mine = list(Ddim(eta)(denoiser, process, times, x, Condition(), lambda: next(fresh)))
    for k, t in enumerate(theirs.timesteps):
        before = x if k == 0 else mine[k - 1].x
        eps = model_output(process, before, float(t) + 1, denoiser)
        after = theirs.step(eps, t, before, eta=eta, variance_noise=zs[k] if eta else None).prev_sample
        torch.testing.assert_close(mine[k].x, after, atol=1e-5, rtol=1e-5)


def test_ancestral_is_diffusers_ddpm_step_by_step():
    from diffusers import DDPMScheduler

    process, denoiser = Ddpm(), MixtureDenoiser(Ddpm(), (-0.8, 0.8), 0.2)
    theirs = DDPMScheduler(1000, beta_schedule="linear", clip_sample=False, variance_type="fixed_small")
    x = prior(process, 4).float()
    times = torch.arange(1000, -1, -1, dtype=torch.float64)
    draws = [torch.randn(x.shape, generator=generator(0, "z", k)) for k in range(1000)]
    fresh = iter(draws)
    mine = build_sampler("ancestral")(denoiser, process, times, x, Condition(), lambda: next(fresh))
    for k, step in enumerate(mine):
        t = 1000 - k
        if t in (1000, 700, 333, 50, 2, 1):
            eps = model_output(process, x, t, denoiser)
            mean_and_noise = theirs.step(eps, t - 1, x, generator=torch.Generator().manual_seed(0)).prev_sample
            their_noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
            spread = float(theirs._get_variance(t - 1).sqrt()) if t > 1 else 0.0
            expected = mean_and_noise + spread * (draws[k] - their_noise)
            torch.testing.assert_close(step.x, expected, atol=2e-5, rtol=1e-4)
        x = step.x


def test_heun_is_diffusers_heun_step_by_step():
    from diffusers import HeunDiscreteScheduler

    theirs = HeunDiscreteScheduler(1000, beta_schedule="linear", use_karras_sigmas=True)
    theirs.set_timesteps(10)
    # They store the inner levels twice, once for each slope of a step.
    levels = torch.cat([theirs.sigmas[:1], theirs.sigmas[1::2]]).double()
    process = Edm(sigma_min=float(levels[-2]), sigma_max=float(levels[0]))
    denoiser = MixtureDenoiser(process, (-0.8, 0.8), 0.2)
    x = prior(process, 8)
    mine = [step.x for step in Heun()(denoiser, process, levels, x, Condition(), no_noise)]
    reached = []
    for t, level in zip(theirs.timesteps, theirs.sigmas, strict=False):
        x = theirs.step(model_output(process, x, float(level), denoiser), t, x).prev_sample
        if theirs.state_in_first_order or level == levels[-2]:
            reached.append(x)
    assert len(reached) == len(mine) == 10
    for ours, other in zip(mine, reached, strict=True):
        torch.testing.assert_close(ours, other.to(ours.dtype), atol=1e-4, rtol=1e-4)
