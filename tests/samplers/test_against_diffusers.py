"""Step for step against the schedulers of diffusers, from the same x_t and the same output of a model."""

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import Ddpm, Denoiser, Edm, Flow, Process, to_prediction
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from rediffuse.samplers import GRIDS, Ancestral, Ddim, DpmSolver, EulerMaruyama, Heun
from tests.diffusion.analytic import MixtureDenoiser
from tests.samplers.common import no_noise, prior

diffusers = pytest.importorskip("diffusers")


def model_output(process: Process, x: Tensor, t: float, denoiser: Denoiser, prediction: str = "eps") -> Tensor:
    """What a scheduler of diffusers wants, of the same denoiser."""
    times = torch.full((len(x),), t, dtype=x.dtype)
    return to_prediction(prediction, denoiser(x, times, Condition()), x, process.at(times), 0.5)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim(eta: float):
    process, denoiser = Ddpm(), MixtureDenoiser(Ddpm(), (-0.8, 0.8), 0.2)
    theirs = diffusers.DDIMScheduler(1000, beta_schedule="linear", clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(20)
    times = GRIDS["trailing"](process, 20)
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


@pytest.mark.parametrize(("variance", "named"), [("posterior", "fixed_small"), ("process", "fixed_large")])
def test_ddpm_with_both_variances(variance: str, named: str):
    process, denoiser = Ddpm(), MixtureDenoiser(Ddpm(), (-0.8, 0.8), 0.2)
    theirs = diffusers.DDPMScheduler(1000, beta_schedule="linear", clip_sample=False, variance_type=named)
    # In float32 their ᾱ has lost four digits by the last step.
    theirs.betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    theirs.alphas_cumprod = torch.cumprod(1 - theirs.betas, 0)
    theirs.one = torch.ones((), dtype=torch.float64)
    x = prior(process, 4)
    times = GRIDS["discrete"](process, 1000)
    draws = [torch.randn(x.shape, generator=generator(0, "z", k), dtype=x.dtype) for k in range(1000)]
    fresh = iter(draws)
    compared = 0
    mine = Ancestral(variance)(denoiser, process, times, x, Condition(), lambda: next(fresh))
    for k, step in enumerate(mine):
        t = 1000 - k
        if t in (1000, 700, 333, 50, 2, 1):
            eps = model_output(process, x, t, denoiser)
            mean_and_noise = theirs.step(eps, t - 1, x, generator=torch.Generator().manual_seed(0)).prev_sample
            their_noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
            spread = float(theirs._get_variance(t - 1).sqrt()) if t > 1 else 0.0
            expected = mean_and_noise + spread * (draws[k] - their_noise)
            torch.testing.assert_close(step.x, expected, atol=1e-5, rtol=1e-5)
            compared += 1
        x = step.x
    assert compared == 6


@pytest.mark.parametrize("stochastic", [False, True])
def test_dpm_solver_2m(stochastic: bool):
    process, denoiser = Ddpm(), MixtureDenoiser(Ddpm(), (-0.8, 0.8), 0.2)
    theirs = diffusers.DPMSolverMultistepScheduler(
        1000,
        beta_schedule="linear",
        algorithm_type="sde-dpmsolver++" if stochastic else "dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
        final_sigmas_type="zero",
        lower_order_final=True,
    )
    theirs.set_timesteps(20)
    times = GRIDS["trailing"](process, 20)
    assert theirs.timesteps.tolist() == [int(t) - 1 for t in times[:-1]]
    x = prior(process, 8).float()
    zs = [torch.randn(x.shape, generator=generator(0, "z", k)) for k in range(20)]
    fresh = iter(zs)
    mine = list(DpmSolver(stochastic)(denoiser, process, times, x, Condition(), lambda: next(fresh)))
    for k, t in enumerate(theirs.timesteps):
        before = x if k == 0 else mine[k - 1].x
        eps = model_output(process, before, float(t) + 1, denoiser)
        after = theirs.step(eps, t, before, variance_noise=zs[k] if stochastic else None).prev_sample
        torch.testing.assert_close(mine[k].x, after, atol=1e-5, rtol=1e-5)


def test_heun():
    theirs = diffusers.HeunDiscreteScheduler(1000, beta_schedule="linear", use_karras_sigmas=True)
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
        torch.testing.assert_close(ours, other.to(ours.dtype), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_on_straight_paths(shift: float):
    process = Flow()
    denoiser = MixtureDenoiser(process, (-0.8, 0.8), 0.2)
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(1000, shift=shift)
    theirs.set_timesteps(12)
    times = theirs.sigmas.double()
    x = torch.randn(8, 1, 2, 2, generator=generator(0, "x"), dtype=torch.float64)
    mine = [step.x for step in EulerMaruyama(eta=0.0)(denoiser, process, times, x, Condition(), no_noise)]
    for k, t in enumerate(theirs.timesteps):
        before = x if k == 0 else mine[k - 1]
        at = float(times[k])
        velocity = model_output(process, before, at, denoiser, "velocity")
        after = theirs.step(velocity, t, before).prev_sample
        torch.testing.assert_close(mine[k], after.double(), atol=1e-5, rtol=1e-5)
