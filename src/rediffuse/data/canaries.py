"""Canaries: invented images that are planted in a training to see what it memorises (Carlini et al., 2019).

Nothing teaches a model what they look like but their copies among its training images. Those that are planted and those
that are held out are drawn alike, so that a model that has learned none of them by heart can't tell them apart.
"""

from typing import Literal

import numpy as np

from rediffuse.data.arrays import StoredExamples
from rediffuse.data.dataset import Examples
from rediffuse.seeds import hashed_seed

_BLOCKS = 4


def canaries(
    kind: Literal["planted", "held_out"], count: int, *, seed: int, shape: tuple[int, int, int], classes: int
) -> Examples:
    """Images of 4×4 blocks, each of one random value a channel, with a random label.

    Canary i is a function of (kind, seed, shape, classes, i).

    Args:
        kind: those of training, or those to compare them with.
        count: how many.
        shape: (channels, height, width).
        classes: of the labels; with 0 they are -1.
    """
    channels, height, width = shape
    rows, columns = (np.arange(size) * min(_BLOCKS, size) // size for size in (height, width))
    images, labels = np.empty((count, *shape), np.uint8), np.full(count, -1, np.int64)
    for i in range(count):
        draw = np.random.default_rng(hashed_seed(seed, f"canary/{kind}/{channels}x{height}x{width}/{classes}", index=i))
        images[i] = draw.integers(0, 256, (channels, _BLOCKS, _BLOCKS), np.uint8)[:, rows[:, None], columns]
        if classes:
            labels[i] = draw.integers(classes)
    return Examples(images, labels, tuple(f"canary-{kind}-{i}" for i in range(count)))


def planted(examples: Examples, canary: Examples, repeats: int) -> Examples:
    """A training split with each canary so many times behind its own images; loaders find them there as well."""
    rows = np.tile(np.arange(len(canary)), repeats)
    stored = examples.stored
    return Examples(
        images=np.concatenate([examples.images, canary.images[rows]]),
        labels=np.concatenate([examples.labels, canary.labels[rows]]),
        ids=examples.ids + tuple(canary.ids[row] for row in rows),
        stored=stored and StoredExamples(stored.path, stored.chosen, canary.images[rows]),
    )
