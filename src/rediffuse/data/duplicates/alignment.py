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
        Frames after the step, n×3, and the distance that is then left, float64, n.
    """
    one, two = (each.reshape(-1, WAVES, WAVES).astype(np.float64) for each in (patterns, others))
    along, scaling = _derivatives()
    middle = (one + two) / 2
    ways = np.stack(
        [scaling @ middle + middle @ scaling.T, middle @ along.T, along @ middle, middle], axis=1
    ).reshape(len(one), 4, -1)
    ways[:, :, 0] = 0
    apart = (two - one).reshape(len(one), -1, 1)
    step = np.linalg.solve(ways @ ways.transpose(0, 2, 1) + 1e-3 * np.eye(4), ways @ apart)
    left = np.linalg.norm(apart - ways.transpose(0, 2, 1) @ step, axis=(1, 2))
    scale = frames[:, :1]
    moved = np.concatenate([scale * (1 + step[:, :1, 0]), frames[:, 1:] + scale * step[:, 1:3, 0]], axis=1)
    return _within(moved), left


def align(first: np.ndarray, second: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Show the larger of two pictures through the frame in which it is the other.

    Args:
        first, second: grey levels, float32, n×32×32.
        frames: n×3, about where in the first the second lies.

    Returns:
        Both as seen, n×32×32; and bool, n×32×32, where the frame shows something.
    """
    halved = np.kron(np.eye(SIDE // 2, dtype=np.float32), np.full((1, 2), 0.5, np.float32))
    small = [halved @ picture @ halved.T for picture in (first, second)]
    frames = _refined(small[0], small[1], frames, 1, steps=2)
    frames = _refined(first, second, frames, 2, steps=1)
    # Looking out of a picture would show nothing at its edges.
    outward = frames[:, 0] > 1
    inverse = np.concatenate([1 / frames[:, :1], -frames[:, 1:] / frames[:, :1]], axis=1)
    turn = outward[:, None, None]
    larger, smaller = np.where(turn, second, first), np.where(turn, first, second)
    frames = _refined(larger, smaller, np.where(outward[:, None], inverse, frames), 1, steps=1)
    shown, seen = seen_through(larger, frames)
    return shown, smaller, seen


def _refined(first: np.ndarray, second: np.ndarray, frames: np.ndarray, smooth: int, steps: int) -> np.ndarray:
    """Frames after some steps of Gauss-Newton on pictures smoothed so many times."""
    side = first.shape[1]
    place = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    kernel = smoothing(side, smooth)
    wanted = kernel @ second @ kernel
    for _ in range(steps):
        shown, seen = seen_through(first, frames)
        shown = kernel @ shown @ kernel
        down, right = np.gradient(shown, axis=1) * side, np.gradient(shown, axis=2) * side
        ways = np.stack([right * place + down * place[:, None], right, down, shown, np.ones_like(shown)], axis=1)
        ways = (ways * seen[:, None]).reshape(len(first), 5, -1)
        products = (ways @ ways.transpose(0, 2, 1)).astype(np.float64)
        diagonal = np.arange(5)
        products[:, diagonal, diagonal] = products[:, diagonal, diagonal] * 1.0001 + 1e-3
        solved = np.linalg.solve(products, (ways @ wanted.reshape(len(first), -1, 1)).astype(np.float64))[:, :, 0]
        frames = _within(frames + np.clip(solved[:, :3] / np.maximum(solved[:, 3:4], 0.3), -0.06, 0.06))
    return frames


def _within(frames: np.ndarray) -> np.ndarray:
    return np.concatenate([np.clip(frames[:, :1], *_SCALES), np.clip(frames[:, 1:], -_SHIFT, _SHIFT)], axis=1)


@lru_cache
def _derivatives() -> tuple[np.ndarray, np.ndarray]:
    """What shifting and scaling a row by a little does to its cosines, a unit of it: two matrices, 8×8."""
    place = (np.arange(SIDE) + 0.5) / SIDE
    wave = np.pi * np.arange(WAVES)
    slopes = -wave * np.sin(wave * place[:, None]) * np.sqrt(2 / SIDE)
    return cosines() @ slopes, cosines() @ (slopes * (place - 0.5)[:, None])
