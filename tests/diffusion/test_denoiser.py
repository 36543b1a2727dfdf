"""Predictions and the denoiser, against closed forms."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from rediffuse.diffusion import (
    PREDICTIONS,
    Ddpm,
    DenoisingLoss,
    Edm,
    LogNormal,
    NetworkDenoiser,
    Process,
    add_noise,
    expand,
    from_prediction,
    stratified,
    to_prediction,
)
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from tests.diffusion.families import PROCESSES

SIGMA_DATA = 0.7
EACH = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


class Oracle(nn.Module):
    """A network that knows the answer: it returns, as its prediction asks, a function of x0 and eps."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer
        self.seen: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        self.seen = (x, c_noise)
        return self.answer


def batch(
    process: Process, count: int = 64, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = generator(0, "batch")
    x0 = SIGMA_DATA * torch.randn(count, 1, 2, 2, generator=draw, dtype=dtype)
    noise = torch.randn(count, 1, 2, 2, generator=draw, dtype=dtype)
    t = LogNormal(process)(stratified(count, draw).to(dtype))
    return x0, noise, t, add_noise(process, x0, noise, t)


def target(prediction: str, process: Process, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the papers say a network of that prediction is trained on."""
    alpha, sigma = expand(process.alpha(t), x0), expand(process.sigma(t), x0)
    if prediction == "edm":
        # Karras et al. (2022), eq. 8, with y for the clean image and n for the noise.
        level = sigma / alpha
        skip = SIGMA_DATA**2 / (level**2 + SIGMA_DATA**2)
        out = level * SIGMA_DATA / (level**2 + SIGMA_DATA**2).sqrt()
        return (x0 - skip * (x0 + level * noise)) / out
    if prediction == "velocity":
        # Lipman et al. (2023): the derivative of x_t along the path.
        time = t.clone().requires_grad_()
        path = expand(process.alpha(time), x0) * x0 + expand(process.sigma(time), x0) * noise
        rows = [torch.autograd.grad(path[..., i, j].sum(), time, retain_graph=True)[0] for i in (0, 1) for j in (0, 1)]
        return torch.stack(rows, 1).reshape(-1, 1, 2, 2)
    return {"x0": x0, "eps": noise, "score": -noise / sigma, "v": alpha * noise - sigma * x0}[prediction]


@EACH
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_that_is_right_makes_a_denoiser_that_is_right(process: Process, prediction: str):
    x0, noise, t, x_t = batch(process)
    network = Oracle(target(prediction, process, x0, noise, t))
    denoised = NetworkDenoiser(network, process, prediction, SIGMA_DATA)(x_t, t, Condition())
    torch.testing.assert_close(denoised, x0, atol=1e-10, rtol=1e-10)


@EACH
@pytest.mark.parametrize(("given", "wanted"), list(itertools.permutations(PREDICTIONS, 2)))
def test_a_prediction_turns_into_any_other(process: Process, given: str, wanted: str):
    x0, noise, t, x_t = batch(process)
    at = process.at(t)
    denoised = from_prediction(given, target(given, process, x0, noise, t), x_t, at, SIGMA_DATA)
    expected = target(wanted, process, x0, noise, t)
    scale = expected.abs().flatten(1).amax(1)[:, None, None, None]
    got = to_prediction(wanted, denoised, x_t, at, SIGMA_DATA)
    torch.testing.assert_close(got / scale, expected / scale, atol=1e-10, rtol=0)


@EACH
def test_noise_and_score_follow_from_the_clean_image(process: Process):
    x0, noise, t, x_t = batch(process)
    at = process.at(t)
    torch.testing.assert_close(at.eps(x_t, x0), noise, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(at.score(x_t, x0), -noise / expand(at.sigma, noise), atol=1e-7, rtol=1e-9)


@EACH
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_plain_loss_is_the_error_of_what_the_network_predicts(process: Process, prediction: str):
    x0, noise, t, _ = batch(process)
    expected = target(prediction, process, x0, noise, t)
    off = torch.randn(x0.shape, generator=generator(1, "off"), dtype=x0.dtype)
    denoiser = NetworkDenoiser(Oracle(expected + off), process, prediction, SIGMA_DATA)
    loss = DenoisingLoss(process=process, prediction=prediction, sigma_data=SIGMA_DATA)
    plain = off.square().flatten(1).mean(1)
    torch.testing.assert_close(loss(denoiser, x0, Condition(), noise, t), plain, atol=1e-7, rtol=1e-7)


@EACH
def test_the_network_sees_unit_variance_and_the_log_noise_level(process: Process):
    x0, _, t, x_t = batch(process, count=4096)
    network = Oracle(torch.zeros_like(x0))
    NetworkDenoiser(network, process, "edm", SIGMA_DATA)(x_t, t, Condition())
    x, c_noise = network.seen
    assert float(x.std()) == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(c_noise, torch.log(process.sigma(t) / process.alpha(t)) / 4)


def test_one_network_denoises_along_another_process():
    """c_in and c_noise depend on sigma/alpha alone: the same network, seen from DDPM, gives the same clean image."""

    class Ours(nn.Module):
        def forward(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
            return torch.sin(x) * c_noise[:, None, None, None]

    x0, noise, t, x_t = batch(Edm())
    of_edm = NetworkDenoiser(Ours(), Edm(), "edm", SIGMA_DATA)(x_t, t, Condition())
    s = Ddpm().time(t)
    x_s = add_noise(Ddpm(), x0, noise, s)
    of_ddpm = NetworkDenoiser(Ours(), Ddpm(), "edm", SIGMA_DATA)(x_s, s, Condition())
    inside = t > 0.011  # DDPM's first step is at sigma/alpha = 0.01
    torch.testing.assert_close(of_ddpm[inside], of_edm[inside], atol=1e-6, rtol=1e-6)


def test_mixed_precision_reaches_the_network_and_not_the_coefficients():
    seen = {}

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
            out = self.conv(x)
            seen.update(inside=out.dtype, c_noise=c_noise.dtype)
            return out

    _, _, t, x_t = batch(Edm(), count=4, dtype=torch.float32)
    denoised = NetworkDenoiser(Spy(), Edm(), "edm", SIGMA_DATA, torch.bfloat16)(x_t, t, Condition())
    assert seen == {"inside": torch.bfloat16, "c_noise": torch.float32}
    assert denoised.dtype == torch.float32
