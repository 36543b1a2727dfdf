import numpy as np
import pytest
from PIL import Image

from rediffuse.data.formatting import square, view
from tests.data.planted import pixels

WHITE = (255, 255, 255)
SHAPES = [(4, 9), (9, 4), (28, 28), (40, 17), (1, 30), (1, 1)]


def cropped(array: np.ndarray, size: int, channels: int) -> np.ndarray:
    return square(array, size, channels, "center_crop", WHITE)


def test_square_takes_the_centre() -> None:
    wide = pixels(0, 4, 9)
    assert np.array_equal(cropped(wide, 4, 3), wide[:, 2:6].transpose(2, 0, 1))
    tall = pixels(1, 9, 4, channels=1)
    assert np.array_equal(cropped(tall, 4, 1), tall[None, 2:6])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stored", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_center_crop_is_pillows_lanczos_of_the_centre(shape: tuple[int, int], stored: int, channels: int) -> None:
    array = pixels(sum(shape), *shape, channels=stored)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    image = Image.fromarray(array).convert("L" if channels == 1 else "RGB").crop((left, top, left + side, top + side))
    expected = np.asarray(image.resize((12, 12), Image.Resampling.LANCZOS)).reshape(12, 12, channels)
    assert np.array_equal(cropped(array, 12, channels), expected.transpose(2, 0, 1))


def test_square_repeats_grey_and_weighs_colour() -> None:
    grey = pixels(0, 4, 4, channels=1)
    assert np.array_equal(cropped(grey, 4, 3), np.stack([grey] * 3))
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert (cropped(red, 4, 1) == round(255 * 0.299)).all()


@pytest.mark.parametrize("resize", ["center_crop", "pad", "squash"])
def test_square_does_not_alias(resize: str) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = square(stripes, 8, 1, resize, WHITE)
    assert abs(small.astype(int) - 127.5).max() < 12  # sampling every eighth column would give 255


def test_pad_keeps_all_and_lays_it_in_the_middle_of_the_background() -> None:
    ground = (10, 200, 30)
    for array, rows, columns in (
        (pixels(0, 4, 8), slice(2, 6), slice(0, 8)),
        (pixels(1, 8, 5), slice(0, 8), slice(1, 6)),
    ):
        padded = square(array, 8, 3, "pad", ground)
        assert np.array_equal(padded[:, rows, columns], array.transpose(2, 0, 1))
        around = np.ones((8, 8), bool)
        around[rows, columns] = False
        assert (padded[:, around] == np.array(ground)[:, None]).all()
    grey = pixels(2, 4, 8, channels=1)
    padded = square(grey, 8, 3, "pad", ground)
    assert np.array_equal(padded[:, 2:6], np.stack([grey] * 3))
    assert padded[:, 0, 0].tolist() == [10, 200, 30]
    assert square(grey, 8, 1, "pad", ground)[0, 0, 0] == round(0.299 * 10 + 0.587 * 200 + 0.114 * 30)


def test_pad_mixes_no_background_into_the_picture() -> None:
    dark = np.zeros((20, 100, 3), np.uint8)
    padded = square(dark, 50, 3, "pad", WHITE)
    assert (padded[:, 20:30] == 0).all()
    assert (padded[:, :20] == 255).all()
    assert (padded[:, 30:] == 255).all()


def test_squash_keeps_all_and_forgets_the_proportions() -> None:
    halves = np.zeros((10, 60), np.uint8)
    halves[:, 30:] = 200
    small = square(halves, 10, 1, "squash", WHITE)[0]
    assert (small[:, :4] < 20).all()
    assert (abs(small[:, 6:].astype(int) - 200) < 20).all()
    assert np.array_equal(square(pixels(0, 8, 8), 8, 3, "squash", WHITE), pixels(0, 8, 8).transpose(2, 0, 1))


@pytest.mark.parametrize("resize", ["center_crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1), (3, 2000)])
def test_extreme_proportions_keep_a_pixel_and_a_flat_image_stays_flat(resize: str, shape: tuple[int, int]) -> None:
    for level in (0, 128, 255):
        flat = np.full(shape, level, np.uint8)
        small = square(flat, 32, 1, resize, (7, 7, 7))
        assert small.shape == (1, 32, 32)
        inside = small == level
        if resize == "pad":
            assert (small[~inside] == 7).all()
            assert inside.sum() == (32 * 32 if shape == (1, 1) else 32)
        else:
            assert inside.all()


def test_view_is_what_formatting_uses() -> None:
    array = pixels(0, 5, 8)
    assert np.array_equal(view(array, "center_crop"), array[:, 1:6])
    for resize in ("pad", "squash"):
        assert view(array, resize) is array
