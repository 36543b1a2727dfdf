"""Guidance and thresholds: what they give, and that no pass is paid for that has no part."""

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import (
    Autoguidance,
    ClassifierFreeGuidance,
    Composition,
    DynamicThreshold,
    Edm,
    GuidedLevels,
    StaticThreshold,
)
from rediffuse.diffusion.process import batch_time
from rediffuse.networks import NO_LABEL, Condition
from rediffuse.randomness import generator

LABELLED = Condition(labels=torch.tensor([0, 1]))


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


class Constant:
    """A denoiser that is a number, and counts its calls."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.calls = 0

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self.calls += 1
        assert condition is LABELLED
        return torch.full_like(x_t, self.value)


@pytest.mark.parametrize(("scale", "value", "calls"), [(1.0, 3, 0), (2.0, 5, 1), (0.0, 1, 1)])
def test_autoguidance_leads_away_from_the_worse_model_under_the_same_condition(scale: float, value: int, calls: int):
    model, worse = Constant(3.0), Constant(1.0)
    out = Autoguidance(model, worse, scale)(torch.zeros(2, 1, 2, 2), torch.ones(2), LABELLED)
    assert out.flatten().tolist() == [value] * 8
    assert (model.calls, worse.calls) == (1, calls)


@pytest.mark.parametrize(("level", "guided"), [(0.1, False), (0.2, False), (0.21, True), (3.0, True), (3.1, False)])
def test_outside_its_levels_guidance_is_off_and_costs_nothing(level: float, guided: bool):
    levels = GuidedLevels(Edm(), 0.2, 3.0)
    x, t = torch.zeros(2, 1, 2, 2, dtype=torch.float64), torch.full((2,), level, dtype=torch.float64)
    denoiser, worse = Counting(), Constant(1.0)
    out = ClassifierFreeGuidance(denoiser, 2.0, levels)(x, t, LABELLED)
    assert out.flatten().tolist() == [2.0 if guided else 1.0] * 8
    assert denoiser.batches == [4 if guided else 2]
    out = Autoguidance(Constant(3.0), worse, 2.0, levels)(x, t, LABELLED)
    assert out.flatten().tolist() == [5.0 if guided else 3.0] * 8
    assert worse.calls == int(guided)


def test_examples_at_their_own_times_are_guided_each_by_its_own():
    t = torch.tensor([0.1, 1.0])
    out = ClassifierFreeGuidance(Counting(), 2.0, GuidedLevels(Edm(), 0.2, 3.0))(torch.zeros(2, 1, 1, 1), t, LABELLED)
    assert out.flatten().tolist() == [1.0, 2.0]


def estimate(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
    return x_t


def test_the_static_threshold_clips():
    x = torch.tensor([-3.0, -1.0, 0.2, 1.5]).reshape(1, 1, 2, 2)
    assert StaticThreshold(estimate)(x, torch.ones(1), Condition()).flatten().tolist() == pytest.approx(
        [-1, -1, 0.2, 1]
    )


def test_the_dynamic_threshold_scales_each_image_by_its_own_quantile():
    x = torch.randn(3, 1, 16, 16, generator=generator(0, "x")) * torch.tensor([0.1, 1.0, 4.0])[:, None, None, None]
    out = DynamicThreshold(estimate, 0.9)(x, torch.ones(3), Condition())
    assert torch.equal(out[0], x[0])
    for image, result in zip(x[1:], out[1:], strict=True):
        bound = float(image.abs().flatten().sort().values[int(0.9 * 255)])
        assert float(result.abs().max()) == 1
        small = image.abs() < bound
        torch.testing.assert_close(result[small], image[small] / bound, rtol=0.02, atol=0)
    alone = DynamicThreshold(estimate, 0.9)(x[2:], torch.ones(1), Condition())
    assert torch.equal(alone[0], out[2])


class ByLabel:
    """A denoiser that is a number for each label, and 10 without one."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        values = torch.tensor([12.0, 7.0, 10.0])[condition.labels]
        return values[:, None, None, None].expand_as(x_t)


@pytest.mark.parametrize(
    ("time", "values"),
    [(1.0, [10 + 3 * (2 - 0.5 * -3), 10 + 3 * 0.4 * -3]), (0.01, [10 + 2 - 0.5 * -3, 10 + 0.4 * -3])],
)
def test_a_composition_adds_what_each_condition_changes_by_its_weight(time: float, values: list[float]):
    """Image 0 is towards label 0 and away from label 1; image 1 a little towards label 1. Below the levels, w is 1."""
    process = Edm(sigma_min=0.002, sigma_max=80.0)
    conditions = [Condition(labels=torch.tensor([0, 1])), Condition(labels=torch.tensor([1, 0]))]
    weights = [torch.tensor([1.0, 0.4]), torch.tensor([-0.5, 0.0])]
    composed = Composition(ByLabel(), conditions, weights, 3.0, GuidedLevels(process, 0.1, 100.0))
    for t in (torch.full((2,), time), batch_time(torch.tensor(time), torch.zeros(2))):
        out = composed(torch.zeros(2, 1, 2, 2), t, LABELLED)
        assert out[:, 0, 0, 0].tolist() == pytest.approx(values)


def test_a_composition_of_one_condition_is_classifier_free_guidance():
    draw = generator(0, "test")
    x, t = torch.randn(2, 1, 2, 2, generator=draw), torch.ones(2)
    one = Composition(ByLabel(), [LABELLED], [torch.ones(2)], 2.5)(x, t, LABELLED)
    assert torch.allclose(one, ClassifierFreeGuidance(ByLabel(), 2.5)(x, t, LABELLED))
