"""Predictions, loss and guidance, against closed forms."""

import pytest
import torch
from torch import Tensor, nn

from rediffuse.diffusion import (
    PREDICTIONS,
    ClassifierFreeGuidance,
    Ddpm,
    DenoisingLoss,
    Edm,
    LogNormal,
    NetworkDenoiser,
    add_noise,
    expand,
    stratified,
)
from rediffuse.networks import NO_LABEL, Condition
from rediffuse.randomness import generator

PROCESSES = {"ddpm": Ddpm(), "edm": Edm()}
SIGMA_DATA = 0.7


class Oracle(nn.Module):
    """A network that knows the answer: it returns, as its prediction asks, a function of x0 and eps."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer
        self.seen: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        self.seen = (x, c_noise)
        return self.answer


def batch(process, count: int = 64, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = generator(0, "batch")
    x0 = SIGMA_DATA * torch.randn(count, 1, 4, 4, generator=draw, dtype=dtype)
    noise = torch.randn(count, 1, 4, 4, generator=draw, dtype=dtype)
    t = LogNormal(process)(stratified(count, draw).to(dtype))
    return x0, noise, t, add_noise(process, x0, noise, t)


def target(prediction: str, process, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the papers say a network of that prediction is trained on."""
    alpha, sigma = expand(process.alpha(t), x0), expand(process.sigma(t), x0)
    if prediction == "edm":
        # Karras et al. (2022), eq. 8, with y for the clean image and n for the noise.
        level = sigma / alpha
        skip = SIGMA_DATA**2 / (level**2 + SIGMA_DATA**2)
        out = level * SIGMA_DATA / (level**2 + SIGMA_DATA**2).sqrt()
        return (x0 - skip * (x0 + level * noise)) / out
    return {"x0": x0, "eps": noise, "v": alpha * noise - sigma * x0}[prediction]


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_that_is_right_makes_a_denoiser_that_is_right(process, prediction: str):
    x0, noise, t, x_t = batch(process)
    network = Oracle(target(prediction, process, x0, noise, t))
    denoised = NetworkDenoiser(network, process, prediction, SIGMA_DATA)(x_t, t, Condition())
    torch.testing.assert_close(denoised, x0, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_is_the_plain_error_of_what_the_network_predicts(process, prediction: str):
    x0, noise, t, _ = batch(process)
    guess = torch.randn(x0.shape, generator=generator(1, "guess"), dtype=x0.dtype)
    denoiser = NetworkDenoiser(Oracle(guess), process, prediction, SIGMA_DATA)
    loss = DenoisingLoss(process=process, prediction=prediction, sigma_data=SIGMA_DATA)
    plain = (guess - target(prediction, process, x0, noise, t)).square().flatten(1).mean(1)
    torch.testing.assert_close(loss(denoiser, x0, Condition(), noise, t), plain, atol=1e-9, rtol=1e-9)


def test_weights_are_the_published_ones():
    t = torch.tensor([1.0, 30.0, 500.0, 1000.0], dtype=torch.float64)
    snr = (Ddpm().alpha(t) / Ddpm().sigma(t)) ** 2

    def weight(prediction: str, process, t: Tensor) -> Tensor:
        return DenoisingLoss(process=process, prediction=prediction, sigma_data=SIGMA_DATA).weight(t)

    torch.testing.assert_close(weight("eps", Ddpm(), t), snr)
    torch.testing.assert_close(weight("v", Ddpm(), t), snr + 1)
    torch.testing.assert_close(weight("x0", Ddpm(), t), torch.ones_like(t))
    level = torch.tensor([0.002, 0.3, 80.0], dtype=torch.float64)
    karras = (level**2 + SIGMA_DATA**2) / (level * SIGMA_DATA) ** 2
    torch.testing.assert_close(weight("edm", Edm(), level), karras)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_the_network_sees_unit_variance_and_the_log_noise_level(process):
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


class Counting:
    """A denoiser that is 1 with its label and 0 without, and counts its calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self.batches.append(len(x_t))
        given = (condition.labels != NO_LABEL).to(x_t.dtype)
        return torch.ones_like(x_t) * given[:, None, None, None]


@pytest.mark.parametrize(("scale", "value", "batches"), [(0.0, 0, [4]), (1.0, 1, [2]), (2.5, 2.5, [4])])
def test_guidance_is_one_pass_and_scale_one_is_off(scale: float, value: float, batches: list[int]):
    denoiser = Counting()
    condition = Condition(labels=torch.tensor([0, 1]))
    out = ClassifierFreeGuidance(denoiser, scale)(torch.zeros(2, 1, 2, 2), torch.ones(2), condition)
    assert out.flatten().tolist() == [value] * 8
    assert denoiser.batches == batches


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
