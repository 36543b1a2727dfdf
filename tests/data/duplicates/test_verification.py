"""What counts as the same picture, by its pixels."""

import numpy as np

from rediffuse.data.duplicates.verification import colours, grey, same_colours, similarity
from tests.data.duplicates.pictures import random_views, smooth_pictures, views_of


def alike(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return similarity(grey(one), grey(two))


def test_brightness_contrast_and_blur_do_not_count() -> None:
    pictures = smooth_pictures(40)
    views = views_of(pictures)
    darker = views_of((pictures * 0.8 + 10).astype(np.uint8))
    half = pictures.reshape(40, 32, 2, 32, 2).mean(axis=(2, 4)).astype(np.uint8)
    assert alike(views, views).min() > 0.95
    assert alike(views, darker).min() > 0.9
    assert alike(views, views_of(np.kron(half, np.ones((1, 2, 2), np.uint8)))).min() > 0.9


def test_similarity_is_the_same_both_ways() -> None:
    one, two = random_views(30), random_views(30, seed=1)
    assert np.allclose(alike(one, two), alike(two, one), atol=1e-5)
    assert alike(one, two).max() < 0.5


def test_a_small_change_in_one_place_counts_in_full() -> None:
    pictures = smooth_pictures(40)
    changed = pictures.copy()
    changed[:, 20:28, 20:28] = 255 - changed[:, 20:28, 20:28]
    assert np.median(alike(views_of(pictures), views_of(changed))) < 0.5


def test_noise_around_one_level_is_no_picture() -> None:
    random = np.random.default_rng(0)
    faint = np.full((2, 50, 1072), 128, np.uint8)
    faint[:, :, :1024] += random.integers(0, 3, (2, 50, 1024)).astype(np.uint8)
    assert alike(*faint).max() < 0
    # The same faint shade twice is no evidence either.
    shade = np.full((1, 1072), 128, np.uint8)
    shade[:, :1024] += np.repeat(np.arange(2, dtype=np.uint8), 512)
    assert alike(shade, shade)[0] < 0.5


def test_the_picture_at_another_tenth_of_its_contrast_is_another() -> None:
    pictures = smooth_pictures(5)
    assert np.isneginf(alike(views_of(pictures), views_of((pictures * 0.1).astype(np.uint8)))).all()


def test_red_and_blue_are_not_the_same_colour_and_two_reds_are() -> None:
    pictures = smooth_pictures(20)
    red, blue, grey_one = views_of(pictures, (1, 0.2, 0.2)), views_of(pictures, (0.2, 0.2, 1)), views_of(pictures)
    darker = views_of((pictures * 0.85).astype(np.uint8), (1, 0.2, 0.2))
    assert same_colours(colours(red), colours(darker)).all()
    assert not same_colours(colours(red), colours(blue)).any()
    assert not same_colours(colours(red), colours(grey_one)).any()
