"""What the search for near duplicates knows of an image: its coarse brightness pattern and a fingerprint of its view.

A pattern is the lowest 8×8 cosine coefficients of the grey levels without the mean, at one length: brightness and
contrast are gone, and mirroring turns the sign of the odd columns. All sums are of integers that float64 holds exactly,
so neither the batch nor the machine shows in them.
"""

import hashlib
from functools import lru_cache

import numpy as np

from rediffuse.data.duplicates.sampling import Frame, sampling
from rediffuse.data.looking import LUMA_SIDE

SIDE = LUMA_SIDE
"""Pixels a side of a view's grey levels."""

PIXELS = SIDE * SIDE
"""Bytes of a view's grey levels, row by row; behind them are 4×4 cells of RGB."""

WAVES = 8
"""Frequencies a side of a pattern."""

KEYS = WAVES * WAVES // 8 + 1
"""Columns of `keys`: eight of pattern, one of hash."""

LENGTH = 127
"""Length of the pattern of an image with contrast."""

FAINT = 2.0
"""Standard deviation, in grey levels, below which a pattern is not stretched to its length."""

_ONE = 4096
"""1.0 among the integers that stand for the cosines."""

_BATCH = 256


def keys(views: np.ndarray) -> np.ndarray:
    """The keys of images, each a function of its own view alone.

    Args:
        views: uint8, n×1072.

    Returns:
        uint64, n×9: eight columns of pattern (see `patterns`), then a hash of the view.
    """
    rows = np.ascontiguousarray(views)
    hashes = np.frombuffer(b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows), "<u8")
    return np.concatenate([framed_patterns(rows).view(np.uint64), hashes[:, None]], axis=1, dtype=np.uint64)


def patterns(keys: np.ndarray) -> np.ndarray:
    """The patterns in keys: int8, n×64, rows of coefficients one after the other."""
    return np.ascontiguousarray(keys[:, :-1]).view(np.int8)


def framed_patterns(views: np.ndarray, frame: Frame | None = None) -> np.ndarray:
    """The patterns of images, or of what a frame cuts out of them: int8, n×64."""
    down, across = _waves(frame)
    found = np.empty((len(views), WAVES * WAVES), np.int8)
    for start in range(0, len(views), _BATCH):
        grey = views[start : start + _BATCH, :PIXELS].reshape(-1, SIDE, SIDE).astype(np.float64)
        waves = (down @ (grey @ across.T)).reshape(-1, WAVES * WAVES)
        waves[:, 0] = 0
        deviation = np.sqrt((waves * waves).sum(axis=1, keepdims=True)) / (_ONE * _ONE * SIDE)
        waves *= LENGTH / (_ONE * _ONE * SIDE * np.maximum(deviation, FAINT))
        found[start : start + _BATCH] = np.rint(waves)
    return found


@lru_cache(maxsize=16)
def _waves(frame: Frame | None) -> tuple[np.ndarray, np.ndarray]:
    """What turns columns and rows of pixels into coefficients: float64 of integers, 8×32 each."""
    down = across = cosines()
    if frame is not None:
        place = np.array([frame])
        down, across = (down @ sampling(place, SIDE, axis)[0][0] for axis in (0, 1))
    return np.rint(down * _ONE), np.rint(across * _ONE)


def cosines() -> np.ndarray:
    """The lowest orthonormal cosines over 32 pixels: float64, 8×32."""
    waves = np.cos(np.pi / SIDE * np.arange(WAVES)[:, None] * (np.arange(SIDE) + 0.5)) * np.sqrt(2 / SIDE)
    waves[0] = np.sqrt(1 / SIDE)
    return np.asarray(waves)
