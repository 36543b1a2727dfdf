"""The section `sample` of params.yaml, and the sheets of pictures."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rediffuse.errors import UserError
from rediffuse.pictures import class_grid, sheet
from rediffuse.sampling import class_mix


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
