"""Features of images for the checks that compare them: grey levels, edges and colour, reduced by PCA.

They come from the views that cleaning keeps of each image: 32 × 32 grey levels, then 4 × 4 RGB, all uint8. The features
are 16 × 16 grey levels, the strength of the edges of eight directions in 4 × 4 cells (as in Dalal & Triggs, 2005), and
4 × 4 differences of colour. No network is needed, and a core describes over 50,000 images a second.

What is fitted, is fitted on a sample that is chosen and summed in the order of the images' hashes, and on one thread:
the number of cores changes nothing, and the order of the rows no more than the last bits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rediffuse.data.looking import COLOUR_SIDE, LUMA_SIDE

Views = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Reads the views of some rows, uint8 (rows, 1072), in the order that is asked for."""

Reals = NDArray[np.float32]

DIMENSIONS = 48
_SAMPLE = 20_000
_CHUNK = 4096
_SIDE, _CELL, _DIRECTIONS = 16, 4, 8
_GREY_WEIGHT = 0.5  # of grey levels against edges: both alone find fewer of the planted outliers and wrong labels


@dataclass(frozen=True)
class Features:
    """Images as points: float32 (n, 48), and how far each is from the space that the points span, float32 (n,)."""

    points: Reals
    residual: Reals


def describe(views: NDArray[np.uint8]) -> Reals:
    """The features before PCA, float32 (n, 416), of views uint8 (n, 1072)."""
    n = len(views)
    grey = views[:, : LUMA_SIDE**2].reshape(n, _SIDE, 2, _SIDE, 2).astype(np.uint16)
    blocks = grey[:, :, 0, :, 0] + grey[:, :, 0, :, 1] + grey[:, :, 1, :, 0] + grey[:, :, 1, :, 1]
    level = blocks.astype(np.float32) / np.float32(4 * 255)
    across, down = np.zeros_like(level), np.zeros_like(level)
    across[:, :, 1:-1] = level[:, :, 2:] - level[:, :, :-2]
    down[:, 1:-1] = level[:, 2:] - level[:, :-2]
    parts = [np.float32(_GREY_WEIGHT) * level.reshape(n, -1)]
    pool = _pool()
    for angle in np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS):
        edge = np.abs(across * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle)))
        parts.append(np.sqrt(edge.reshape(n, -1) @ pool))
    colour = views[:, LUMA_SIDE**2 :].reshape(n, COLOUR_SIDE**2, 3).astype(np.float32) / np.float32(255)
    parts += [colour[:, :, 0] - colour[:, :, 1], colour[:, :, 2] - colour[:, :, 1]]
    return np.concatenate(parts, axis=1)


def features(views: Views, rows: NDArray[np.int64], hashes: NDArray[np.uint64]) -> Features:
    """The features of the given rows, in their order.

    Args:
        views: reads the views of rows; it is asked for some thousand at a time.
        rows: which rows of the views to describe.
        hashes: of each of these rows' ids; they choose and order the sample for PCA.
    """
    points = np.empty((len(rows), DIMENSIONS), np.float32)
    residual = np.empty(len(rows), np.float32)
    if not len(rows):
        return Features(points, residual)
    with threadpool_limits(1):
        sample = rows[np.argsort(hashes, kind="stable")[:_SAMPLE]]
        mean, axes = _principal_axes([describe(views(part)) for part in _chunks(sample)])
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            centred = describe(views(rows[part])) - mean
            points[part] = centred @ axes
            left = np.square(centred).sum(axis=1) - np.square(points[part]).sum(axis=1)
            residual[part] = np.sqrt(np.maximum(left, 0))
    return Features(points, residual)


def _pool() -> Reals:
    """Means over the cells of a picture, as a matrix: (256, 16)."""
    cells = np.kron(np.eye(_SIDE // _CELL), np.full((_CELL, 1), 1 / _CELL))
    return np.kron(cells, cells).astype(np.float32)


def _chunks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]


def _principal_axes(sample: list[Reals]) -> tuple[Reals, Reals]:
    """Mean and axes of greatest variance: (416,) and (416, 48)."""
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in sample) / sum(len(part) for part in sample)
    scatter = np.zeros((len(mean), len(mean)))
    for part in sample:
        centred = part - mean
        scatter += centred.T @ centred
    _, axes = np.linalg.eigh(scatter)
    return mean.astype(np.float32), np.ascontiguousarray(axes[:, ::-1][:, :DIMENSIONS], dtype=np.float32)
