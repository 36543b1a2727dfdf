"""Which frame shows one picture in another: for cropped copies.

First one step on patterns, cheap enough for every candidate, then Gauss-Newton on pixels (Lucas and Kanade, 1981) with
brightness and contrast free.
"""

from functools import lru_cache

import numpy as np

from rediffuse.data.duplicates.keys import SIDE, WAVES, cosines
from rediffuse.data.duplicates.sampling import seen_through
from rediffuse.data.duplicates.verification import smoothing

_SCALES = (0.86, 1 / 0.86)
_SHIFT = 0.08
"""How far alignment goes, in shares of the side: a crop to 0.9 of it scales by 0.9 and shifts by 0.05."""


def estimate(patterns: np.ndarray, others: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step from patterns of pictures in frames towards other patterns.

    Args:
        patterns, others: int8, n×64.
        frames: float64, n×3, rows of `Frame`: what the first patterns are of.

    Returns:
        Frames after the step, n×3, and the distance that is then left, n, both float32.
    """
    one, two = (each.reshape(-1, WAVES, WAVES).astype(np.float64) for each in (patterns, others))
    along, scaling = _derivatives()
    middle = (one + two) / 2
    ways = np.stack([scaling @ middle + middle @ scaling.T, middle @ along.T, along @ middle, middle], axis=1).reshape(
        len(one), 4, WAVES * WAVES
    )
    ways[:, :, 0] = 0
    apart = (two - one).reshape(len(one), WAVES * WAVES, 1)
    step = np.linalg.solve(ways @ ways.transpose(0, 2, 1) + 1e-3 * np.eye(4), ways @ apart)
    left = np.linalg.norm(apart - ways.transpose(0, 2, 1) @ step, axis=(1, 2))
    scale = frames[:, :1]
    moved = np.concatenate([scale * (1 + step[:, :1, 0]), frames[:, 1:] + scale * step[:, 1:3, 0]], axis=1)
    return _within(moved).astype(np.float32), left.astype(np.float32)


def align(first: np.ndarray, second: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step towards the frame on pixels.

    Args:
        first, second: grey levels, float32, n×32×32.
        frames: n×3, about where in the first the second lies.

    Returns:
        Frames, n×3, and about the greatest difference that is then left, in shares of the contrast: float32, n.
    """
    return _refined(first, second, frames, 2)


def superimpose(first: np.ndarray, second: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The larger of two pictures as seen through the frame in which it is the other, after one more step.

    Args:
        first, second, frames: as above.

    Returns:
        Both as seen, n×32×32; and bool, n×32×32, where the frame shows something.
    """
    # Looking out of a picture would show nothing at its edges.
    outward = frames[:, 0] > 1
    inverse = np.concatenate([1 / frames[:, :1], -frames[:, 1:] / frames[:, :1]], axis=1)
    turn = outward[:, None, None]
    larger, smaller = np.where(turn, second, first), np.where(turn, first, second)
    frames, _ = _refined(larger, smaller, np.where(outward[:, None], inverse, frames), 1)
    shown, seen = seen_through(larger, frames)
    return shown, smaller, seen


def _refined(first: np.ndarray, second: np.ndarray, frames: np.ndarray, smooth: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames after a step of Gauss-Newton on pictures smoothed so many times, and the greatest difference then left."""
    side = first.shape[1]
    place = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    kernel = smoothing(side, smooth)
    shown, seen = seen_through(first, frames)
    shown, wanted = kernel @ shown @ kernel, kernel @ second @ kernel
    ways = np.empty((len(first), 5, side, side), np.float32)
    ways[:, 1], ways[:, 2] = _slopes(shown), _slopes(shown.transpose(0, 2, 1)).transpose(0, 2, 1)
    ways[:, 0] = ways[:, 1] * place + ways[:, 2] * place[:, None]
    ways[:, 3], ways[:, 4] = shown, 1
    ways *= seen[:, None]
    known = ways.reshape(len(first), 5, side * side)
    wanted = (wanted * seen).reshape(len(first), side * side, 1)
    products = (known @ known.transpose(0, 2, 1)).astype(np.float64)
    diagonal = np.arange(5)
    products[:, diagonal, diagonal] = products[:, diagonal, diagonal] * 1.0001 + 1e-3
    solved = np.linalg.solve(products, (known @ wanted).astype(np.float64))
    left = np.abs(wanted - known.transpose(0, 2, 1) @ solved.astype(np.float32)).max(axis=(1, 2))
    contrast = wanted.std(axis=(1, 2)) + 1e-6
    step = solved[:, :3, 0] / np.maximum(solved[:, 3:4, 0], 0.3)
    return _within(frames + np.clip(step, -0.06, 0.06)), left / contrast


def _slopes(pictures: np.ndarray) -> np.ndarray:
    """The derivative across, a side of the picture as the unit."""
    side = pictures.shape[2]
    slopes = np.empty_like(pictures)
    slopes[:, :, 1:-1] = (pictures[:, :, 2:] - pictures[:, :, :-2]) * (side / 2)
    slopes[:, :, 0] = (pictures[:, :, 1] - pictures[:, :, 0]) * side
    slopes[:, :, -1] = (pictures[:, :, -1] - pictures[:, :, -2]) * side
    return slopes


def _within(frames: np.ndarray) -> np.ndarray:
    return np.concatenate([np.clip(frames[:, :1], *_SCALES), np.clip(frames[:, 1:], -_SHIFT, _SHIFT)], axis=1)


@lru_cache
def _derivatives() -> tuple[np.ndarray, np.ndarray]:
    """What shifting and scaling a row by a little does to its cosines, a unit of it: two matrices, 8×8."""
    place = (np.arange(SIDE) + 0.5) / SIDE
    wave = np.pi * np.arange(WAVES)
    slopes = -wave * np.sin(wave * place[:, None]) * np.sqrt(2 / SIDE)
    return cosines() @ slopes, cosines() @ (slopes * (place - 0.5)[:, None])
