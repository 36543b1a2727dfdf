"""Frames inside a picture, and the picture as it looks through them."""

from typing import NamedTuple

import numpy as np


class Frame(NamedTuple):
    """A part of a picture: x ↦ scale·x + shift from its coordinates to the picture's, both -1/2 to 1/2 across."""

    scale: float
    right: float
    down: float


def sampling(frames: np.ndarray, side: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that sample pixels along one axis as frames show them, by cubic convolution (Keys, 1981, a = -1/2).

    Args:
        frames: n×3, rows of `Frame`.
        side: pixels of the picture, and of what is seen of it.
        axis: 0 down, 1 across.

    Returns:
        float32, n×side×side; and bool, n×side: whether the place lies in the picture, up to half a pixel outside.
    """
    centred = (np.arange(side) + 0.5) / side - 0.5
    frames = frames.astype(np.float64)
    place = (frames[:, :1] * centred + frames[:, 2 - axis][:, None] + 0.5) * side - 0.5
    inside = (place > -1) & (place < side)
    away = np.abs(np.clip(place, 0, side - 1).astype(np.float32)[:, :, None] - np.arange(side, dtype=np.float32))
    near, far = (1.5 * away - 2.5) * away * away + 1, ((2.5 - 0.5 * away) * away - 4) * away + 2
    weights = np.where(away <= 1, near, np.where(away < 2, far, 0))
    weights /= weights.sum(axis=2, keepdims=True)
    return weights, inside


def seen_through(pictures: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures through frames: float32, n×side×side, and bool, where there is something to see."""
    side = pictures.shape[1]
    down, above = sampling(frames, side, 0)
    across, beside = sampling(frames, side, 1)
    return down @ pictures @ across.transpose(0, 2, 1), above[:, :, None] & beside[:, None, :]
