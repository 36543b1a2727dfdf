"""scikit-learn's digits as views, 32 × 32 grey levels then 4 × 4 RGB, and ways to spoil some."""

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from rediffuse.data.features import Features, features


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (1797, 8, 8) and int32 (1797,)."""
    data = load_digits()
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target.astype(np.int32)


def view(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BILINEAR)).ravel()
    return np.concatenate([grey, np.asarray(picture.convert("RGB").resize((4, 4), Image.Resampling.BOX)).ravel()])


def views(images: np.ndarray) -> np.ndarray:
    return np.stack([view(image) for image in images])


def hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def described(pictures: np.ndarray, keys: np.ndarray) -> Features:
    return features(lambda rows: pictures[rows], np.arange(len(pictures)), keys)


SPOILED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "noise": lambda image: np.random.default_rng(list(image.ravel())).integers(0, 256, image.shape, dtype=np.uint8),
    "inverted": lambda image: 255 - image,
    "rotated": lambda image: np.ascontiguousarray(np.rot90(image)),
    "cropped": lambda image: np.asarray(Image.fromarray(image[:4, :4]).resize((8, 8), Image.Resampling.BILINEAR)),
    "striped": lambda image: np.where(np.arange(8) % 4 < 2, 255, 0).astype(np.uint8) + np.zeros_like(image),
}
