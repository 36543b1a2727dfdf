"""The section `sample` of params.yaml, and the sheets of pictures."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rediffuse.errors import UserError
from rediffuse.model import Model, build_model, describe
from rediffuse.networks import Condition
from rediffuse.params import Params, SampleParams, load_params
from rediffuse.pictures import class_grid, grid_rows, sheet
from rediffuse.processes import Processes
from rediffuse.sampling import Sampling, class_mix


def test_classes_come_in_turn_when_none_are_named():
    assert class_mix(7, ("a", "b", "c"), None).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert class_mix(3, (), None).tolist() == [-1, -1, -1]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 120))
def test_any_first_images_hold_the_classes_in_their_shares(weights: list[int], count: int):
    names = [f"c{i}" for i in range(len(weights) + 1)]
    labels = class_mix(count, names, dict(zip(names, weights, strict=False)))
    given_counts = np.bincount(labels, minlength=len(names))
    wanted = np.array([*weights, 0]) / sum(weights) * count
    assert np.abs(given_counts - wanted).max() < len(weights)
    assert given_counts[-1] == 0
    assert class_mix(count + 5, names, dict(zip(names, weights, strict=False)))[:count].tolist() == labels.tolist()


def test_a_class_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"sample.classes names 'cat'; the classes are a, b"):
        class_mix(3, ("a", "b"), {"cat": 1.0})


def test_a_sheet_shows_each_image_in_its_cell_enlarged_by_whole_pixels():
    images = np.zeros((2, 3, 1, 4, 4), np.uint8)
    images[1, 2] = np.arange(16).reshape(1, 4, 4)

    def picture(cell: int) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(sheet(list(images), ("a", "b"), cell=cell))))

    assert picture(4)[-8:-4, -8:-4].tolist() == images[1, 2, 0].tolist()
    assert picture(8).shape[0] == 4 + 2 * (8 + 4)
    assert (picture(8) == 0).sum() >= 5 * 8 * 8


def test_a_grid_has_a_row_a_class_in_colour_too_and_the_same_bytes_each_time():
    images = np.arange(6 * 3 * 4 * 4, dtype=np.uint8).reshape(6, 3, 4, 4)
    labels = np.array([0, 1, 2, 0, 1, 2])
    grid = class_grid(images, labels, ("x", "y", "z"))
    assert Image.open(io.BytesIO(grid)).mode == "RGB"
    assert grid == class_grid(images, labels, ("x", "y", "z"))
    assert grid != class_grid(images[::-1], labels, ("x", "y", "z"))
    assert Image.open(io.BytesIO(class_grid(images, np.full(6, -1), ()))).mode == "RGB"


def defaults() -> Params:
    return load_params(Path(__file__).parents[1] / "params.yaml")


def small_model(classes: tuple[str, ...] = ("a", "b")) -> Model:
    params = defaults()
    description = describe(params.model, params.diffusion, shape=(1, 4, 4), classes=classes, sigma_data=0.5)
    model = build_model(description, torch.device("cpu"))
    model.denoiser.requires_grad_(False).eval()
    return model


def sampling(model: Model, **changes: object) -> Sampling:
    params: SampleParams = defaults().sample.model_copy(update={"batch_size": 4, "steps": 5} | changes)
    return Sampling.of(model, params, torch.device("cpu"), reference=small_model().denoiser)


@pytest.mark.parametrize(
    ("changes", "evaluations"),
    [
        ({"sampler": "heun"}, 9),
        ({"sampler": "ddim"}, 5),
        ({"sampler": "ddim", "guidance": 2.0}, 10),
        ({"sampler": "ddim", "guidance": 2.0, "guidance_reference": "snapshot"}, 10),
        # Karras's five levels are 80, 17.5, 2.5, 0.17 and 0.002; two of them are guided.
        ({"sampler": "ddim", "guidance": 2.0, "guidance_levels": (0.1, 3.0)}, 7),
        ({"sampler": "reverse_diffusion", "corrector_steps": 2}, 15),
        ({"sampler": "annealed_langevin", "langevin_steps": 3}, 16),
    ],
)
def test_evaluations_are_counted_as_the_networks_see_images(changes: dict[str, object], evaluations: int):
    ours = sampling(small_model(), **changes)
    list(ours.images(np.array([0, 1, 0, 1])))
    assert ours.evaluations == 4 * evaluations


def test_some_images_are_drawn_as_among_all_of_them():
    labels = class_mix(11, ("a", "b"), None)
    ours = sampling(small_model(), sampler="heun")
    images, evaluations = ours.drawn(labels, Processes())
    assert (len(images), evaluations) == (11, 9)
    # A second look counts its own evaluations alone.
    assert ours.drawn(labels, Processes())[1] == 9
    chosen = [10, 0, 3, 7, 8]
    assert ours.chosen(labels[chosen], chosen).tobytes() == images[chosen].tobytes()


@pytest.mark.parametrize(("classes", "columns"), [(("x", "y", "z"), 2), ((), 3)])
def test_a_grid_of_what_it_shows_is_the_grid_of_all(classes: tuple[str, ...], columns: int):
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4), dtype=np.uint8)
    labels = np.arange(40) % 2 * 2 if classes else np.full(40, -1)
    shown = np.concatenate(grid_rows(labels, classes, columns))
    assert len(shown) == (4 if classes else 24)
    whole = class_grid(images, labels, classes, columns)
    assert class_grid(images[shown], labels[shown], classes, columns) == whole


def test_temperature_scales_the_initial_noise_and_zero_leaves_no_variety():
    model = small_model()
    cold, warm = (
        np.concatenate(list(sampling(model, temperature=each).images(np.zeros(4, int)))) for each in (0.0, 1.0)
    )
    assert len({image.tobytes() for image in cold}) == 1
    assert len({image.tobytes() for image in warm}) == 4


def test_thresholds_keep_the_estimate_inside():
    model = small_model()
    torch.nn.init.constant_(model.denoiser.network.head[-1].bias, 40.0)
    labels = torch.zeros(4, dtype=torch.int64)
    x, t = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(4)
    for threshold, inside in (("none", False), ("static", True), ("dynamic", True)):
        denoised = sampling(model, threshold=threshold).denoiser(x, t, Condition(labels=labels))
        assert (float(denoised.abs().max()) <= 1) is inside


def test_guidance_by_labels_needs_labels():
    with pytest.raises(UserError, match=r"sample.guidance is 2.0, but the data has no labels to guide to; use 1"):
        sampling(small_model(()), guidance=2.0)
