"""Images that are bad in a known way, made of real ones: their scores are the scale that a model's are read on.

Whatever is drawn has the key (seed, control, SHA-256 of the image): each result is a function of its image alone, and
another order of the images gives the same results in that order.
"""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.extractors import Images, Labels
from rediffuse.seeds import hashed_seed

NOISE = 0.1
"""Standard deviation of the noise, as a share of the range of values."""


def control_images(images: Images, labels: Labels | None, seed: int) -> Iterator[tuple[str, Images]]:
    """Each control's name and its images, one control at a time.

    - noised: with Gaussian noise of a tenth of the range, rounded and clipped.
    - blurred: the mean of 3 × 3 pixels, with the edges repeated, rounded.
    - missing_class: without the commonest class, of equally common ones the first; absent where there is one or none.
    - shuffled: each image's pixels in an order of its own; a pixel's channels stay together.
    - uniform: noise of all values alike.

    Args:
        images: the real test images, uint8 (N, C, H, W).
        labels: their classes (N,), -1 where one has none; None: the data has no classes.
        seed: key of all that is drawn.
    """
    yield "noised", _each(_noised, "noised", images, seed)
    yield "blurred", blurred(images)
    kept = without_commonest(labels) if labels is not None else None
    if kept is not None:
        yield "missing_class", images[kept]
    yield "shuffled", _each(_shuffled, "shuffled", images, seed)
    yield "uniform", _each(_uniform, "uniform", images, seed)


def blurred(images: Images) -> Images:
    """The rounded mean of 3 × 3 pixels, with the edges repeated."""
    height, width = images.shape[2:]
    result = np.empty_like(images)
    for at, image in enumerate(images):
        padded = np.pad(image.astype(np.uint16), ((0, 0), (1, 1), (1, 1)), mode="edge")
        total = sum(padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3))
        # A ninth never lies half-way between two whole numbers.
        result[at] = (np.asarray(total) + 4) // 9
    return result


def without_commonest(labels: Labels) -> NDArray[np.bool_] | None:
    """Which of the labels (N,) are not the commonest class; None where fewer than two classes occur."""
    known = labels[labels >= 0]
    classes, counts = np.unique(known, return_counts=True)
    return labels != classes[counts.argmax()] if len(classes) > 1 else None


def _each(change: Callable[[Images, np.random.Generator], Images], control: str, images: Images, seed: int) -> Images:
    result = np.empty_like(images)
    for at, image in enumerate(images):
        key = hashlib.sha256(image.tobytes()).hexdigest()
        result[at] = change(image, np.random.default_rng(hashed_seed(seed, f"controls/{control}/{key}")))
    return result


def _noised(image: Images, draw: np.random.Generator) -> Images:
    noise = draw.normal(0, NOISE * 255, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _shuffled(image: Images, draw: np.random.Generator) -> Images:
    channels = image.reshape(len(image), -1)
    return channels[:, draw.permutation(channels.shape[1])].reshape(image.shape)


def _uniform(image: Images, draw: np.random.Generator) -> Images:
    return draw.integers(0, 256, image.shape, np.uint8)
