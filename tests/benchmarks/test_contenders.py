"""Every contender trains, draws and counts as the benchmarks expect it to."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.contenders import CONTENDERS, Task, article, own, planning
from benchmarks.contenders.framing import Frame, levels
from benchmarks.contenders.sizes import nearest_width

NEEDED = {"diffusers": "accelerate", "denoising-diffusion-pytorch": "denoising_diffusion_pytorch"}


def toy() -> Task:
    """A hundred grey images of 8×8, bright at the top or at the bottom, which is their class."""
    draw = np.random.default_rng(0)
    labels = np.arange(100, dtype=np.int64) % 2
    images = draw.integers(0, 60, (100, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, :4] += 180
    images[labels == 1, :, 4:] += 180
    return Task(images=images, labels=labels, classes=2, batch_size=16, device=torch.device("cpu"), parameters=108_000)


@pytest.fixture(params=list(CONTENDERS))
def name(request) -> str:
    if request.param in NEEDED:
        pytest.importorskip(NEEDED[request.param])
    return request.param


def raw_and_average(contender) -> tuple[torch.Tensor, torch.Tensor]:
    """The trained weights and the averaged ones, each as one vector."""
    raw, average = {
        "rediffuse": lambda c: (c._state.denoiser.parameters(), c._state.average.parameters()),
        "diffusers": lambda c: (c._network.parameters(), c._average.shadow_params),
        "denoising-diffusion-pytorch": lambda c: (
            c._trainer.model.parameters(),
            c._trainer.ema.ema_model.parameters(),
        ),
        "article": lambda c: (c._network.parameters(), c._average.parameters()),
    }[contender.name](contender)
    return tuple(torch.cat([each.detach().reshape(-1) for each in part]).clone() for part in (raw, average))


def shorten(contender) -> None:
    """A few evaluations, where hundreds would take seconds; see the article's STEPS as well."""
    if contender.name == "diffusers":
        contender.evaluations = 4
    if contender.name == "denoising-diffusion-pytorch":
        contender._trainer.ema.ema_model.sampling_timesteps = 4


def test_a_contender_trains_its_weights_and_draws_from_their_average(name, monkeypatch):
    monkeypatch.setattr(article, "STEPS", 4)
    contender = CONTENDERS[name](toy())
    assert contender.name == name
    assert abs(contender.parameters / 108_000 - 1) < 0.35
    new, _ = raw_and_average(contender)
    assert len(new) == contender.parameters

    contender.train(2)
    raw, average = raw_and_average(contender)
    assert 0 < (raw - new).abs().max() < 0.1
    assert 0 < (average - new).abs().max() < 0.1

    shorten(contender)
    labels = np.array([0, 1, 1])
    first = contender.images(labels, seed=3)
    assert (first.shape, first.dtype) == ((3, 1, 8, 8), np.uint8)
    assert np.array_equal(first, contender.images(labels, seed=3))
    assert not np.array_equal(first, contender.images(labels, seed=4))
    assert torch.equal(raw, raw_and_average(contender)[0])
    # Most weights are seen by 1 to 64 pixels, with two operations each.
    assert 2 < contender.flops() / contender.parameters < 2 * 64


@pytest.fixture
def _free() -> Iterator[None]:
    """Torch as it starts, whatever an earlier test of this process has asked of it."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.usefixtures("_free")
def test_two_trainings_of_rediffuse_draw_the_same_bytes():
    def drawn() -> bytes:
        contender = own.Rediffuse(toy(), {"train.lr": 0.01})
        contender.train(2)
        return contender.images(np.array([0, 1]), seed=0).tobytes()

    assert drawn() == drawn()
    # The switches that make it so are its own.
    assert not torch.are_deterministic_algorithms_enabled()


def test_guidance_at_some_levels_costs_the_evaluations_that_it_takes():
    changes = {"sample.guidance": 1.3, "sample.guidance_levels": [0.3, 3]}
    contender = own.Rediffuse(toy(), changes)
    contender.train(1)
    contender.images(np.array([0, 1, 1]), seed=0)
    karras = np.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 20) ** 7
    assert contender.evaluations == 20 + np.sum((karras >= 0.3) & (karras <= 3))
    assert contender.setting.endswith("20 steps, guidance 1.3 at levels (0.3, 3.0)")


@pytest.mark.parametrize("module", [own, article])
def test_a_look_at_the_clock_leaves_no_trace_and_the_schedule_ends_in_time(module, monkeypatch):
    untimed = module.build(toy())
    monkeypatch.setattr(module, "steps_within", lambda seconds, run: run(1) or 6)
    contender = module.build(replace(toy(), seconds=60.0))
    assert torch.equal(*(raw_and_average(each)[0] for each in (untimed, contender)))

    optimizer = contender._state.optimizer if module is own else contender._optimizer
    rates = []
    for _ in range(8):
        contender.train(1)
        rates.append(optimizer.param_groups[0]["lr"])
    # The last one holds.
    assert rates[5:] == [rates[5]] * 3
    assert rates[5] < 1e-4 * max(rates)


def test_the_steps_of_a_time_are_judged_by_what_a_step_takes(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(planning.time, "perf_counter", lambda: clock[0])

    def run(steps: int) -> None:
        clock[0] += 0.25 * steps

    assert planning.steps_within(100.0, run) == round(100 / 0.25 * planning.SHARE)


def test_the_width_nearest_to_the_asked_weights_is_taken():
    # width² + width weights: 72, 272, 600.
    assert [nearest_width(lambda w: nn.Linear(w, w), n, range(8, 99, 8)) for n in (10, 170, 173, 437)] == [8, 8, 16, 24]


def test_a_frame_comes_off_as_it_was_put_on():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 28, 27), dtype=np.uint8)
    frame = Frame((3, 28, 27), multiple=8)
    framed = frame.put_on(images)
    assert framed.shape[1:] == frame.framed == (3, 32, 32)
    assert np.array_equal(frame.take_off(framed), images)
    assert [levels(side, most=4) for side in (8, 12, 28, 32, 64)] == [2, 2, 3, 4, 4]
