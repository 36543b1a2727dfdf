"""Canaries: which images they are, and where they are planted."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from rediffuse.data.arrays import ArrayWriter, StoredExamples
from rediffuse.data.canaries import canaries, planted
from rediffuse.data.dataset import Examples


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 30, 17), (1, 3, 5)])
def test_a_canary_is_a_function_of_its_key_and_no_two_are_alike(shape: tuple[int, int, int]):
    some = canaries("planted", 5, seed=0, shape=shape, classes=10)
    more = canaries("planted", 200, seed=0, shape=shape, classes=10)
    assert np.array_equal(some.images, more.images[:5])
    assert np.array_equal(some.labels, more.labels[:5])
    assert set(more.labels) == set(range(10))
    others = [
        canaries("held_out", 200, seed=0, shape=shape, classes=10),
        canaries("planted", 200, seed=1, shape=shape, classes=10),
    ]
    drawn = {image.tobytes() for each in (more, *others) for image in each.images}
    assert len(drawn) == 600
    assert some.images.shape == (5, *shape)
    assert (canaries("planted", 5, seed=0, shape=shape, classes=0).labels == -1).all()


def test_a_canary_is_of_blocks():
    image = canaries("planted", 1, seed=0, shape=(1, 8, 8), classes=0).images[0, 0]
    assert np.array_equal(image, image[::2, ::2].repeat(2, axis=0).repeat(2, axis=1))
    assert len(np.unique(image)) > 10


def test_canaries_stand_behind_the_images_in_memory_and_for_the_loaders(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    with ArrayWriter(tmp_path / "examples.npy", (1, 8, 8)) as writer:
        writer.extend(images)
    chosen = np.arange(3, 15)
    split = Examples(
        images[chosen], np.arange(12), tuple(map(str, chosen)), StoredExamples(tmp_path / "examples.npy", chosen)
    )
    canary = canaries("planted", 2, seed=0, shape=(1, 8, 8), classes=12)
    found = planted(split, canary, 3)
    assert len(found) == len(found.stored) == len(found.images) == 18
    assert np.array_equal(found.images[:12], images[chosen])
    for copy in range(3):
        behind = slice(12 + 2 * copy, 14 + 2 * copy)
        assert np.array_equal(found.images[behind], canary.images)
        assert np.array_equal(found.labels[behind], canary.labels)
        assert found.ids[behind] == ("canary-planted-0", "canary-planted-1")
    elsewhere = pickle.loads(pickle.dumps(found.stored))
    for rows in (np.array([17, 0, 12, 11, 3]), np.array([2, 1]), np.array([16, 12]), np.arange(18)):
        assert np.array_equal(elsewhere[rows], found.images[rows])
    assert planted(Examples(split.images, split.labels, split.ids), canary, 1).stored is None
