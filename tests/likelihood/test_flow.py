"""The density of the probability-flow ODE, on denoisers whose densities are known."""

import math

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import Cosine, Ddpm, Edm, Flow, SubVp, Ve, Vp, noise_to_signal
from rediffuse.likelihood import AdaptiveSolver, HeunSolver, log_density, rademacher
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from tests.diffusion.analytic import GaussianDenoiser, MixtureDenoiser

PROCESSES = {
    "ddpm": Ddpm(),
    "vp": Vp(),
    "subvp": SubVp(),
    "cosine": Cosine(),
    "ve": Ve(),
    "edm": Edm(),
    "flow": Flow(),
}
every_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
MEANS, STD = (-0.8, 0.8), 0.3


def normal(count: int, *shape: int) -> Tensor:
    return torch.randn(count, *shape, generator=generator(0, "x"), dtype=torch.float64)


def ends(process) -> tuple[float, float]:
    levels = noise_to_signal(process, torch.tensor([process.t_min, process.t_max], dtype=torch.float64))
    return float(levels[0]), float(levels[1])


def normal_log_density(x: Tensor, mean: float, std: float) -> Tensor:
    return torch.distributions.Normal(mean, std).log_prob(x).flatten(1).sum(1)


def mixture_log_density(x: Tensor, std: float) -> Tensor:
    each = torch.stack([normal_log_density(x, mean, std) for mean in MEANS])
    return each.logsumexp(0) - math.log(len(MEANS))


def gaussian_by_ode(process, x: Tensor, mean: float, std: float) -> Tensor:
    """What the ODE makes of the prior N(0, σ̃_T²), which on Gaussian data it only shifts and scales."""
    low, high = ends(process)
    stretch = math.sqrt((std**2 + high**2) / (std**2 + low**2))
    end = mean + stretch * (x - mean)
    return normal_log_density(end, 0.0, high) + x[0].numel() * math.log(stretch)


@every_process
@pytest.mark.parametrize(
    ("solver", "error"), [(AdaptiveSolver(1e-8), 1e-6), (HeunSolver(400), 6e-4)], ids=["ode", "heun"]
)
def test_a_gaussian_has_its_closed_form_image_by_image(process, solver, error: float):
    x = 0.3 + 0.5 * normal(8, 1, 2, 2)
    found = log_density(GaussianDenoiser(process, 0.3, 0.5), process, x, Condition(), solver)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found / 4, gaussian_by_ode(process, x, 0.3, 0.5) / 4, atol=error, rtol=0)


@every_process
def test_gaussian_data_have_the_entropy_of_their_own_density(process):
    x = 0.1 + 0.5 * normal(5000, 1, 2, 2)
    found = log_density(GaussianDenoiser(process, 0.1, 0.5), process, x, Condition(), AdaptiveSolver(1e-6))
    # The noise left at t_min and the prior's lack of a mean change an image's density, and hardly the mean over many.
    assert float(found.mean() / 4) == pytest.approx(float(normal_log_density(x, 0.1, 0.5).mean() / 4), abs=1e-4)


@every_process
def test_mixture_data_have_the_entropy_of_their_own_density(process):
    component = torch.arange(2000) % 2
    x = torch.tensor(MEANS, dtype=torch.float64)[component, None, None, None] + STD * normal(2000, 1, 1, 2)
    found = log_density(MixtureDenoiser(process, MEANS, STD), process, x, Condition(), AdaptiveSolver(1e-6))
    blurred = math.sqrt(STD**2 + ends(process)[0] ** 2)
    assert float(found.mean() / 2) == pytest.approx(float(mixture_log_density(x, blurred).mean() / 2), abs=1e-4)


@pytest.mark.parametrize(
    "process", [Edm(sigma_max=2000.0), Ve(sigma_max=2000.0), Cosine(), Flow()], ids=["edm", "ve", "cosine", "flow"]
)
def test_a_mixture_has_its_closed_form_image_by_image_where_the_prior_is_wide(process):
    x = torch.cat([torch.zeros(1, 1, 1, 2, dtype=torch.float64), normal(7, 1, 1, 2)])
    found = log_density(MixtureDenoiser(process, MEANS, STD), process, x, Condition(), AdaptiveSolver(1e-9))
    blurred = math.sqrt(STD**2 + ends(process)[0] ** 2)
    torch.testing.assert_close(found / 2, mixture_log_density(x, blurred) / 2, atol=2e-6, rtol=0)


@every_process
def test_heun_converges_at_second_order(process):
    x = 0.3 + 0.5 * normal(8, 1, 1, 2)
    exact = gaussian_by_ode(process, x, 0.3, 0.5)
    errors = [
        float((log_density(GaussianDenoiser(process, 0.3, 0.5), process, x, Condition(), HeunSolver(n)) - exact).norm())
        for n in (100, 200)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.15)


def test_the_probe_is_held_from_one_end_to_the_other():
    process = Edm()
    mixing = torch.tensor([[0.5, 0.3, 0.1], [0.3, 0.4, -0.2], [0.1, -0.2, 0.6]], dtype=torch.float64)
    evaluations = []

    def denoiser(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        evaluations.append(len(x_t))
        # With another probe at each evaluation no step is ever good enough.
        assert len(evaluations) < 3000
        return (x_t.flatten(1) @ mixing).reshape(x_t.shape)

    x, probes = normal(8, 1, 1, 3), rademacher((1, 1, 3), 0, range(8))
    found = log_density(denoiser, process, x, Condition(), AdaptiveSolver(1e-7), probes)
    low, high = ends(process)
    way = math.log(high / low)
    end = x.flatten(1) @ torch.matrix_exp(way * (torch.eye(3, dtype=torch.float64) - mixing))
    probe = probes.flatten(1).double()
    divergence = way * (3 - (probe @ mixing * probe).sum(1))
    assert divergence.unique().numel() > 1
    torch.testing.assert_close(found, normal_log_density(end, 0.0, high) + divergence, atol=1e-4, rtol=1e-6)


def test_probes_estimate_the_exact_trace_without_bias():
    process, count = Edm(), 4000
    denoiser = MixtureDenoiser(process, MEANS, STD)
    # Between the two means a pixel tells much about the others: the Jacobian is far from diagonal.
    x = torch.tensor([0.1, -0.2, 0.05, 0.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    exact = log_density(denoiser, process, x, Condition(), HeunSolver(100))
    probes = rademacher((1, 2, 2), 0, range(count))
    found = log_density(denoiser, process, x.expand(count, 1, 2, 2), Condition(), HeunSolver(100), probes)
    standard_error = float(found.std()) / math.sqrt(count)
    assert standard_error > 0.005
    assert abs(float(found.mean() - exact)) < 4 * standard_error


@pytest.mark.parametrize(
    ("solver", "exact"), [(AdaptiveSolver(1e-5), True), (HeunSolver(30), False)], ids=["ode", "heun"]
)
def test_an_images_density_is_the_same_bytes_whatever_its_batch_mates(solver, exact: bool):
    process = Vp()
    denoiser = MixtureDenoiser(process, MEANS, STD)
    x, probes = normal(6, 1, 2, 2), rademacher((1, 2, 2), 0, range(6))

    def of(images: Tensor, rows: list[int]) -> Tensor:
        return log_density(denoiser, process, images, Condition(), solver, None if exact else probes[rows])

    others = torch.cat([5 * normal(3, 1, 2, 2), x[2:3]])
    assert of(x, [0, 1, 2, 3, 4, 5])[2] == of(others, [0, 0, 1, 2])[3] == of(x[2:3], [2])[0]


def test_a_probe_is_signs_by_its_key_alone():
    probes = rademacher((2, 3, 4), 0, range(500))
    assert probes.shape == (500, 2, 3, 4)
    assert set(probes.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(probes.mean())) < 4 / math.sqrt(probes.numel())
    assert torch.equal(rademacher((2, 3, 4), 0, [7, 3]), probes[[7, 3]])
    assert not torch.equal(rademacher((2, 3, 4), 1, [7]), probes[[7]])
