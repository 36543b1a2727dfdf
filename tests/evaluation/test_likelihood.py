"""Bits a dimension over a test split: which images, which noise, and what a number depends on."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.baseline import PixelStatistics
from rediffuse.evaluation.likelihood import BATCH, LikelihoodSettings, describe_likelihood, likelihood_metrics
from rediffuse.likelihood import (
    HeunSolver,
    bits_of_bound,
    bits_of_density,
    dequantise,
    log_density,
    rademacher,
    variational_bound,
)
from rediffuse.model import Model, build_model, describe
from rediffuse.networks import Condition
from rediffuse.randomness import generator, seeded_global
from rediffuse.seeds import hashed_seed
from tests.data.planted import params_with

CPU = torch.device("cpu")
ODE = LikelihoodSettings(seed=0, method="ode", solver="heun", steps=2, tolerance=0.1, images=500)
BOUND = replace(ODE, method="bound")


def model(classes: tuple[str, ...] = ("a", "b"), size: int = 8) -> Model:
    """A narrow network with random weights on DDPM's path in three steps."""
    params = params_with()
    settings = params.diffusion.ddpm.model_copy(update={"steps": 3})
    diffusion = params.diffusion.model_copy(update={"process": "ddpm", "ddpm": settings})
    unet = params.model.unet.model_copy(update={"width": 8, "blocks": 1, "multipliers": (1,), "attention_sizes": ()})
    description = describe(
        params.model.model_copy(update={"unet": unet}),
        diffusion,
        shape=(1, size, size),
        classes=classes,
        sigma_data=0.7,
    )
    with seeded_global(0, "weights"):
        built = build_model(description, CPU)
    draw = generator(0, "awake")
    for parameter in built.denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    built.denoiser.requires_grad_(False).eval()
    return built


MODEL = model()
PIXELS = PixelStatistics(mean=np.zeros((1, 8, 8)), variance=np.full((1, 8, 8), 1 / 3))


def examples(count: int, size: int = 8) -> Examples:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, 1, size, size), dtype=np.uint8)
    return Examples(images=images, labels=np.arange(count) % 2, ids=tuple(f"image {i}" for i in range(count)))


def rows(test: Examples, chosen: list[int]) -> Examples:
    return Examples(test.images[chosen], test.labels[chosen], tuple(test.ids[i] for i in chosen))


def scored(test: Examples, settings: LikelihoodSettings, of: Model = MODEL) -> dict[str, Any]:
    pixels = PixelStatistics(*(each[:, : of.shape[1], : of.shape[2]] for each in (PIXELS.mean, PIXELS.variance)))
    found = likelihood_metrics(of, test, pixels, settings, CPU)
    assert found is not None
    return found


def each(test: Examples, settings: LikelihoodSettings, of: Model = MODEL) -> list[float]:
    """The numbers of the first images, taken back out of the means over ever more of them."""
    means = [scored(test, replace(settings, images=n), of)["bits_per_dim"] * n for n in range(2, settings.images + 1)]
    return [b - a for a, b in pairwise(means)]


@pytest.mark.parametrize("settings", [ODE, BOUND], ids=["ode", "bound"])
def test_the_mean_and_its_standard_error_are_those_of_the_images(settings: LikelihoodSettings):
    test = examples(6)
    found = scored(test, settings)
    assert found.keys() == {
        *("bits_per_dim", "bits_per_dim_low", "bits_per_dim_high", "bits_per_dim_baseline"),
        *("stderr", "method", "n"),
    }
    assert (found["method"], found["n"]) == (settings.method, 6)
    pair = scored(test, replace(settings, images=2))
    bits = each(test, replace(settings, images=6))
    # Two numbers of mean m and standard error s are m ± s.
    bits += [pair["bits_per_dim"] - pair["stderr"], pair["bits_per_dim"] + pair["stderr"]]
    assert found["bits_per_dim"] == pytest.approx(np.mean(bits), rel=1e-9)
    assert found["stderr"] == pytest.approx(np.std(bits, ddof=1) / math.sqrt(6), rel=1e-6)
    # Student's t with five degrees of freedom.
    assert found["bits_per_dim_high"] - found["bits_per_dim"] == pytest.approx(2.570582 * found["stderr"], rel=1e-5)
    assert found["bits_per_dim"] - found["bits_per_dim_low"] == pytest.approx(2.570582 * found["stderr"], rel=1e-5)


def test_the_baseline_scores_the_same_points_as_the_density_of_the_model():
    test = examples(3)
    order = sorted(range(3), key=lambda row: hashed_seed(0, f"likelihood/{test.ids[row]}"))
    points = dequantise(torch.from_numpy(test.images[order]), 0, range(3))
    expected = float(PIXELS.bits_per_dim(points).mean())
    assert scored(test, ODE)["bits_per_dim_baseline"] == pytest.approx(expected, rel=1e-12)


def test_the_baseline_of_a_bound_is_the_bound_of_independent_pixels_with_the_noise_of_the_model():
    test = examples(3)
    order = sorted(range(3), key=lambda row: hashed_seed(0, f"likelihood/{test.ids[row]}"))
    draws = [generator(0, "likelihood/noise", index=index) for index in range(3)]
    bound = variational_bound(
        PIXELS.denoiser(MODEL.process, CPU),
        MODEL.process,
        torch.from_numpy(test.images[order]),
        Condition(),
        lambda: torch.stack([torch.randn((1, 8, 8), generator=draw) for draw in draws]),
    )
    expected = float(bits_of_bound(bound, 64).mean())
    assert scored(test, BOUND)["bits_per_dim_baseline"] == pytest.approx(expected, rel=1e-9)
    assert expected != pytest.approx(scored(test, ODE)["bits_per_dim_baseline"], rel=0.01)


@pytest.mark.parametrize("size", [8, 4])
def test_an_image_alone_in_its_padded_batch_scores_as_the_library_says(size: int):
    test, of = examples(BATCH + 1, size), model(size=size)
    # A density is computed in float32, whatever samples are.
    of.denoiser.autocast = None
    row = max(range(len(test)), key=lambda i: hashed_seed(0, f"likelihood/{test.ids[i]}"))
    before = scored(test, replace(ODE, images=BATCH), of)["bits_per_dim"] * BATCH
    found = scored(test, ODE, of)["bits_per_dim"] * (BATCH + 1) - before
    x = dequantise(torch.from_numpy(test.images[[row]]), 0, [BATCH])
    # The divergence of 64 numbers is estimated, of 16 computed.
    probe = rademacher((1, size, size), 0, [BATCH]) if size == 8 else None
    condition = Condition(labels=torch.tensor([row % 2]))
    expected = bits_of_density(log_density(of.denoiser, of.process, x, condition, HeunSolver(2), probe), size**2)
    assert found == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("settings", [ODE, BOUND], ids=["ode", "bound"])
def test_the_order_of_the_split_and_what_else_it_holds_last_change_nothing(settings: LikelihoodSettings):
    test = examples(8)
    assert scored(rows(test, [5, 2, 7, 0, 3, 6, 1, 4]), settings) == scored(test, settings)


def test_a_part_of_a_split_sorted_by_class_shows_every_class():
    test = examples(60)
    test = rows(test, [*range(0, 60, 2), *range(1, 60, 2)])
    some = replace(ODE, images=12)
    whole = scored(test, some)["bits_per_dim"]
    for label in (0, 1):
        blank = np.where((test.labels == label)[:, None, None, None], 0, test.images)
        assert scored(Examples(blank, test.labels, test.ids), some)["bits_per_dim"] != whole


@pytest.mark.parametrize("settings", [ODE, BOUND], ids=["ode", "bound"])
def test_labels_and_the_seed_count(settings: LikelihoodSettings):
    test = examples(4)
    other_way_round = Examples(test.images, 1 - test.labels, test.ids)
    bits = {
        scored(test, settings)["bits_per_dim"],
        scored(other_way_round, settings)["bits_per_dim"],
        scored(test, replace(settings, seed=1))["bits_per_dim"],
    }
    assert len(bits) == 3
    without = model(classes=())
    assert scored(test, settings, without) == scored(other_way_round, settings, without)


def test_half_precision_is_left_to_training_and_sampling():
    MODEL.denoiser.autocast = torch.bfloat16
    try:
        half = scored(examples(3), ODE)
    finally:
        MODEL.denoiser.autocast = None
    assert half == scored(examples(3), ODE)


def test_the_method_none_computes_nothing():
    assert likelihood_metrics(MODEL, examples(3), PIXELS, replace(ODE, method="none"), CPU) is None


def test_the_protocol_names_solver_divergence_and_dequantisation():
    adaptive = replace(ODE, solver="ode", tolerance=3e-4)
    found = describe_likelihood(adaptive, (1, 8, 8), 180)
    assert found == {
        "how": "probability-flow ODE, solver ode (tolerance 0.0003), one Rademacher probe an image, "
        "uniform dequantisation over bins of 1/127.5",
        "baseline": "independent Gaussian pixels with the mean and variance of the training images",
        "method": "ode",
        "images": 180,
        "split": "test",
        "seed": 0,
    }
    small = describe_likelihood(replace(ODE, images=50, seed=7), (1, 4, 4), 180)
    assert small["how"].startswith("probability-flow ODE, solver heun (2 steps), exact divergence")
    assert (small["images"], small["seed"]) == (50, 7)
    assert "bound" in describe_likelihood(BOUND, (1, 8, 8), 180)["how"]
    assert describe_likelihood(replace(ODE, method="none"), (1, 8, 8), 180).startswith("none:")
