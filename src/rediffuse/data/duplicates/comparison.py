"""Candidates for the same picture, and how similar the two of each pair are."""

from typing import NamedTuple

import numpy as np

from rediffuse.data.duplicates.alignment import align, superimpose
from rediffuse.data.duplicates.sampling import seen_through
from rediffuse.data.duplicates.verification import colours, grey, same_colours, similarity

_REACH = 1.5
"""The greatest difference that one step of alignment may leave, as a multiple of what is allowed at the end."""


class Candidates(NamedTuple):
    """Pairs of images: their indices (int32), whether to mirror the second (bool), and where in the first it lies (n×3
    of `sampling.Frame`)."""

    first: np.ndarray
    second: np.ndarray
    mirrored: np.ndarray
    frames: np.ndarray

    def take(self, which: np.ndarray | slice) -> "Candidates":
        return Candidates(*(column[which] for column in self))


def compare_whole(one: np.ndarray, two: np.ndarray, pairs: Candidates, least: float) -> np.ndarray:
    """The similarity of pairs as they are: float32, n, where it is at least `least`, else anything less.

    Args:
        one, two: the views of each pair, uint8, n×1072.
        pairs: n of them.
        least: least similarity of interest.
    """
    first, first_cells = _parts(one)
    second, second_cells = _parts(two, pairs.mirrored)
    alike = np.full(len(one), -np.inf, np.float32)
    which = np.flatnonzero(same_colours(first_cells, second_cells))
    alike[which] = similarity(first[which], second[which])
    return np.where(alike >= least, alike, -np.inf)


def compare_framed(one: np.ndarray, two: np.ndarray, pairs: Candidates, least: float) -> np.ndarray:
    """The same after alignment, starting from the frames of the pairs."""
    first, first_cells = _parts(one)
    second, second_cells = _parts(two, pairs.mirrored)
    cells = np.stack([seen_through(first_cells[..., c], pairs.frames)[0] for c in range(3)], axis=3)
    frames, left = align(first, second, pairs.frames)
    alike = np.full(len(one), -np.inf, np.float32)
    which = np.flatnonzero((left <= _REACH * (1 - least)) & same_colours(cells, second_cells))
    alike[which] = similarity(*superimpose(first[which], second[which], frames[which]))
    return np.where(alike >= least, alike, -np.inf)


def _parts(views: np.ndarray, mirrored: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels and colours of views, some of them mirrored."""
    pixels, cells = grey(views), colours(views)
    if mirrored is not None:
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        cells[mirrored] = cells[mirrored, :, ::-1]
    return pixels, cells
