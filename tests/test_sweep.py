"""The points of a sweep, and what they show of samplers whose denoiser is known exactly."""

from collections import deque

import pytest
import torch

from rediffuse.diffusion import Process
from rediffuse.frechet import Gaussian, frechet_distance
from rediffuse.params import Params, SweepParams
from rediffuse.samplers import GRIDS, NoiseKey, SamplerSettings, build_sampler, trajectory
from rediffuse.sweep import StepsPoint, best_grid, guidance_points, steps_points, why_not_guided
from tests.data.planted import params_with
from tests.diffusion.analytic import MixtureDenoiser
from tests.diffusion.families import PROCESSES

SAMPLERS = tuple(params_with().sweep.steps.model_dump())
MEANS, STD = (-0.5, 0.1, 0.6), 0.1


def swept(**changes: object) -> Params:
    return params_with(**changes)


def test_a_point_changes_the_guidance_scale_and_nothing_else():
    params = swept(sample__guidance=1.5, sweep__guidance=(1.0, 3.0), sample__sampler="heun", sample__churn=2.0)
    points = guidance_points(params.sweep, params.sample, guidable=True)
    assert [(point.scale, point.sample.guidance) for point in points] == [(1.0, 1.0), (3.0, 3.0)]
    for point in points:
        assert point.sample.model_copy(update={"guidance": 1.5}) == params.sample


@pytest.mark.parametrize(
    ("changes", "labelled", "reason"),
    [
        ({}, True, None),
        ({}, False, "the data has no labels to guide to"),
        ({"sample__guidance_reference": "snapshot"}, False, None),
        ({"sample__guidance_reference": "snapshot", "train__snapshots": 0}, True, "train.snapshots above 0"),
        ({"sample__guidance_reference": "snapshot", "train__label_drop": 0.0}, True, None),
        ({"train__label_drop": 0.0}, True, "never learns to go without a label"),
        ({"train__label_drop": 0.0}, False, "the data has no labels to guide to"),
        ({"sample__sampler": "ode", "sample__guidance_levels": [0.1, 2.0]}, True, "can't bound its error"),
        ({"sample__sampler": "ode"}, True, None),
    ],
)
def test_of_a_model_that_cannot_be_guided_the_scale_one_alone_is_swept(
    changes: dict[str, object], labelled: bool, reason: str | None
):
    params = swept(**changes, sweep__guidance=(1.0, 2.0))
    why = why_not_guided(params.sample, params.train, labelled=labelled)
    assert (why is None) if reason is None else (reason in (why or ""))
    points = guidance_points(params.sweep, params.sample, guidable=why is None)
    assert [point.scale for point in points] == ([1.0, 2.0] if reason is None else [1.0])


def test_the_default_model_and_one_point_of_its_own_sampler_are_the_same():
    params = swept(sweep__guidance=(1.0,))
    (plain,) = guidance_points(params.sweep, params.sample, guidable=True)
    own = [
        point for point in steps_points(params.sweep, params.sample, "edm") if point.sampler == params.sample.sampler
    ]
    assert plain.sample == params.sample
    assert [point.sample for point in own if point.steps == params.sample.steps] == [params.sample]


def test_what_belongs_to_the_models_own_sampler_is_left_to_it():
    params = swept(sample__sampler="ddim", sample__eta=0.7, sample__corrector_steps=2, sample__threshold="static")
    for point in steps_points(every(5), params.sample, "edm"):
        type(point.sample).model_validate(point.sample.model_dump())
        assert (point.sample.sampler, point.sample.steps, point.sample.corrector_steps) == (point.sampler, 5, 0)
        assert point.sample.eta == (point.sampler == "euler_maruyama")
        assert point.sample.threshold == "static"


def every(*steps: int) -> SweepParams:
    return swept(**{f"sweep__steps__{name}": steps for name in SAMPLERS}).sweep


def distance(process: Process, point: StepsPoint, real: Gaussian, count: int = 1000) -> float:
    """The Fréchet distance in pixels of images of a mixture of Gaussians."""
    steps = trajectory(
        MixtureDenoiser(process, MEANS, STD),
        process,
        build_sampler(point.sampler, SamplerSettings(eta=point.sample.eta)),
        GRIDS[point.sample.grid](process, point.steps),
        shape=(1, 2, 2),
        labels=None,
        keys=[NoiseKey(0, index) for index in range(count)],
        device=torch.device("cpu"),
    )
    return frechet_distance(real, Gaussian.of(deque(steps, maxlen=1).pop().x.flatten(1).double().numpy()))


@pytest.fixture(scope="module")
def real() -> Gaussian:
    draw = torch.Generator().manual_seed(1)
    means = torch.tensor(MEANS)[torch.randint(3, (20_000, 1), generator=draw)]
    return Gaussian.of((means + STD * torch.randn(20_000, 4, generator=draw)).double().numpy())


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["ddpm", "edm", "flow"])
def test_with_more_evaluations_the_distance_falls_for_each_sampler(name: str, sampler: str, real: Gaussian):
    process = PROCESSES[name]
    points = [point for point in steps_points(every(5, 20, 40), swept().sample, name) if point.sampler == sampler]
    few, more, many = (distance(process, point, real) for point in points)
    # With many steps what is left is the chance of a thousand images.
    assert more < few
    assert many < max(more, 0.003)
    assert many < 0.01


def test_the_grids_are_better_than_equal_steps_in_time_where_these_waste_them(real: Gaussian):
    sample = swept().sample
    for name, sampler, other in (("edm", "ddim", "uniform"), ("flow", "ddim", "karras"), ("flow", "heun", "karras")):
        (point,) = (point for point in steps_points(every(20), sample, name) if point.sampler == sampler)
        worse = StepsPoint(sampler, 20, point.sample.model_copy(update={"grid": other}))
        assert best_grid(sampler, name) == point.sample.grid != other
        assert distance(PROCESSES[name], point, real) < 0.3 * distance(PROCESSES[name], worse, real)
