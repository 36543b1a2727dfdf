"""What the keys of an image depend on, and what they leave out."""

import numpy as np

from rediffuse.data.duplicates.keys import LENGTH, framed_patterns, keys, patterns
from rediffuse.data.duplicates.sampling import Frame
from tests.data.duplicates.pictures import flat, random_views


def test_keys_are_the_same_whatever_stands_beside_an_image() -> None:
    views = random_views(600)
    alone = np.concatenate([keys(view[None]) for view in views])
    assert np.array_equal(keys(views), alone)
    assert np.array_equal(keys(views[::-1])[::-1], alone)
    assert len(np.unique(alone[:, -1])) == 600


def test_patterns_leave_brightness_and_contrast_out() -> None:
    views = random_views(50)
    views[:, :1024] //= 2
    moved = views + np.uint8(40)
    stretched = views * np.uint8(2)
    pattern = patterns(keys(views)).astype(int)
    assert np.array_equal(patterns(keys(moved)), pattern)
    assert abs(patterns(keys(stretched)) - pattern).max() <= 1
    assert np.allclose(np.linalg.norm(pattern, axis=1), LENGTH, atol=4)


def test_patterns_of_faint_images_are_not_stretched() -> None:
    random = np.random.default_rng(0)
    faint = flat(20, level=128)
    faint[:, :1024] += random.integers(0, 2, (20, 1024)).astype(np.uint8)
    assert np.linalg.norm(patterns(keys(faint)).astype(int), axis=1).max() < LENGTH / 4


def test_a_frame_shows_what_lies_in_it() -> None:
    views = random_views(30)
    grey = views[:, :1024].reshape(-1, 32, 32)
    moved = views.copy()
    moved[:, :1024] = np.roll(grey, -2, axis=2).reshape(-1, 1024)
    whole, beside = framed_patterns(moved).astype(int), framed_patterns(views, Frame(1, 2 / 32, 0)).astype(int)
    # But for the two columns that came round.
    near = np.linalg.norm(whole - beside, axis=1)
    assert np.median(near) < 0.5 * np.median(np.linalg.norm(whole - framed_patterns(views), axis=1))
