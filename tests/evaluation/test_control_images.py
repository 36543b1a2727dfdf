"""Control images: each is what its name says, by its own key, whatever the order."""

import numpy as np
import pytest

from rediffuse.evaluation.control_images import control_images


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 3, 9, 7), np.uint8)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.array([2, 1, 2, 0, 1, -1, -1, -1, -1, -1] * 30)


def test_the_names_are_those_of_the_protocol(images, labels) -> None:
    names = [name for name, _ in control_images(images, labels, 0)]
    assert names == ["noised", "blurred", "missing_class", "shuffled", "uniform"]
    for unlabelled in (None, np.full(300, -1), np.full(300, 4)):
        assert "missing_class" not in dict(control_images(images, unlabelled, 0))


def test_another_order_of_the_images_gives_the_same_results_in_that_order(images, labels) -> None:
    order = np.random.default_rng(1).permutation(300)
    first = dict(control_images(images, labels, 0))
    second = dict(control_images(images[order], labels[order], 0))
    for name in ("noised", "blurred", "shuffled", "uniform"):
        assert np.array_equal(first[name][order], second[name])
    assert not np.array_equal(first["noised"], dict(control_images(images, labels, 1))["noised"])


def test_noise_is_a_tenth_of_the_range(labels) -> None:
    grey = np.full((300, 3, 9, 7), 128, np.uint8)
    grey[:, 0, 0, 0] = np.arange(300) % 256  # no two alike
    noise = dict(control_images(grey, labels, 0))["noised"].astype(float) - grey
    assert noise.std() == pytest.approx(25.5, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.3)
    bright = dict(control_images(np.full((2, 1, 50, 50), 255, np.uint8), None, 0))["noised"]
    assert (bright == 255).mean() == pytest.approx(0.5, abs=0.03)


def test_blur_is_the_mean_of_nine_pixels_with_the_edges_repeated(images) -> None:
    from scipy.ndimage import uniform_filter

    expected = np.rint(uniform_filter(images.astype(float), size=(1, 1, 3, 3), mode="nearest"))
    assert np.array_equal(dict(control_images(images, None, 0))["blurred"], expected)


def test_the_missing_class_is_the_commonest_and_of_equals_the_first(images, labels) -> None:
    kept = dict(control_images(images, labels, 0))["missing_class"]
    assert np.array_equal(kept, images[labels != 1])


def test_shuffled_images_keep_their_pixels_with_all_channels(images) -> None:
    shuffled = dict(control_images(images, None, 0))["shuffled"]

    def pixels(image: np.ndarray) -> list[tuple[int, ...]]:
        return sorted(map(tuple, image.reshape(3, -1).T.tolist()))

    assert all(pixels(before) == pixels(after) for before, after in zip(images, shuffled, strict=True))
    places = np.broadcast_to(np.arange(63, dtype=np.uint8).reshape(9, 7), (300, 9, 7))
    numbered = np.stack([places, images[:, 0]], axis=1)
    orders = dict(control_images(numbered, None, 0))["shuffled"][:, 0].reshape(300, -1)
    assert len(np.unique(orders, axis=0)) == 300


def test_uniform_noise_holds_every_value_alike(images) -> None:
    uniform = dict(control_images(images, None, 0))["uniform"]
    counts = np.bincount(uniform.ravel(), minlength=256)
    # Chi-square of 255 degrees of freedom: its mean, and five standard deviations.
    assert abs(((counts - counts.mean()) ** 2 / counts.mean()).sum() - 255) < 5 * np.sqrt(510)
    assert len(np.unique(uniform, axis=0)) == 300
