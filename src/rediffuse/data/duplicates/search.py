"""Near duplicates among any number of images: candidates from their keys, verified on their views."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from rediffuse.data.duplicates.alignment import align, estimate
from rediffuse.data.duplicates.candidates import Neighbourhoods, mirror, mirrored
from rediffuse.data.duplicates.groups import components
from rediffuse.data.duplicates.keys import framed_patterns, patterns
from rediffuse.data.duplicates.sampling import Frame, seen_through
from rediffuse.data.duplicates.verification import colours, grey, same_colours, similarity

FRAMES = tuple(
    Frame(1 - cut, 0.3 * cut * right, 0.3 * cut * down) for cut in (0.035, 0.09) for down in (-1, 1) for right in (-1, 1)
)
"""The parts of a picture that are looked for among the others: between them lies any crop by up to 10 %."""

_ORDERS, _FRAME_ORDERS = 4, 3
_NEAREST, _NEAREST_FRAMED = 4, 2

_REACH = 16.0
"""Greatest distance of two patterns of the same picture, whatever was done to it but cropping."""

_FRAME_REACH = 32.0
"""As _REACH, where a frame is only near the crop; and then after one step towards it: _ALIGNED_REACH."""

_ALIGNED_REACH = 11.0

_CHUNK = 4096
"""Views in memory at once, twice, and what is computed of them."""

_READ = 16384

Views = Callable[[np.ndarray], np.ndarray]
"""Gives the views, uint8 of m×1072, of rows, int64 and rising."""


class Pairs(NamedTuple):
    """Pairs of rows, first < second, sorted: int64, int64 and float32."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray


def near_duplicates(keys: np.ndarray, views: Views, *, similarity: float, flips: bool) -> Pairs:
    """Pairs of images that show the same picture: linked, they make the groups of near duplicates.

    Found are equal views, and of the others each image's nearest ones, so of many copies of a picture not every pair.
    The groups depend on the images alone, not on the order of the rows. Time grows with the number of images, and
    memory by some 400 bytes an image.

    Args:
        keys: uint64, N×9, from `keys`.
        views: the views of some rows.
        similarity: least similarity of a pair, see `verification.similarity`; above 0, up to 1.
        flips: a mirrored copy shows the same picture.
    """
    # In the order of their hashes, images keep their places whatever row they stand in.
    _, first, inverse = np.unique(keys[:, -1], return_index=True, return_inverse=True)
    row = _least_rows(len(first), inverse)
    again = np.flatnonzero(row[inverse] != np.arange(len(keys)))
    found = [(row[inverse[again]], again, np.ones(len(again), np.float32))]
    if len(row) > 1:
        search = _Search(patterns(keys[row]), row, views, similarity, flips=flips)
        one, two, alike = search.pairs()
        found.append((row[one], row[two], alike))
    one, two, alike = (np.concatenate(parts) for parts in zip(*found, strict=True))
    lower, upper = np.minimum(one, two), np.maximum(one, two)
    # Of a pair that was found twice the greater similarity stays.
    order = np.lexsort((-alike, upper, lower))
    lower, upper, alike = lower[order], upper[order], alike[order]
    new = np.ones(len(order), bool)
    new[1:] = (lower[1:] != lower[:-1]) | (upper[1:] != upper[:-1])
    return Pairs(lower[new], upper[new], alike[new])


def _least_rows(count: int, inverse: np.ndarray) -> np.ndarray:
    least = np.full(count, len(inverse))
    np.minimum.at(least, inverse, np.arange(len(inverse)))
    return least


class _Candidates(NamedTuple):
    """Pairs to verify: indices, whether the second is to be mirrored, and where in the first it lies (n×3)."""

    first: np.ndarray
    second: np.ndarray
    mirrored: np.ndarray
    frames: np.ndarray

    def take(self, which: np.ndarray) -> "_Candidates":
        return _Candidates(*(column[which] for column in self))


class _Search:
    """Images whose views all differ, by patterns in an order of their own and the rows to ask their views for."""

    def __init__(self, patterns: np.ndarray, rows: np.ndarray, views: Views, least: float, *, flips: bool) -> None:
        self.patterns = patterns
        self.rows = rows
        self.views = views
        self.least = least
        self.flips = flips

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First, second (indices) and similarity of what is verified."""
        found = [self._verified(self._whole(np.arange(len(self.rows))), _alike)]
        found += self._linked(*found[0][:2])
        found.append(self._verified(self._framed(), _alike_aligned))
        first, second, alike = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return first, second, alike

    def _linked(self, first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """What links parts of large groups: where an image's nearest are all in its part, the next part is never seen."""
        while True:
            group = components(len(self.rows), first, second)
            members = np.bincount(group, minlength=len(group))
            # One image stands for its part.
            parts = np.flatnonzero(members > _NEAREST)
            if len(parts) < 2:
                return
            found = self._verified(self._whole(parts), _alike)
            if not len(found[0]):
                return
            yield found
            first, second = np.concatenate([first, found[0]]), np.concatenate([second, found[1]])

    def _whole(self, members: np.ndarray) -> _Candidates:
        """Pairs of some images that are near each other as they are."""
        known = self.patterns[members]
        near, _ = Neighbourhoods(known, _ORDERS, flips=self.flips).nearest(known, _NEAREST, _REACH)
        first, second = _unordered(np.repeat(np.arange(len(members)), near.shape[1]), near.ravel())
        turned = self._mirrored(known[first], known[second])
        frames = np.broadcast_to(Frame(1, 0, 0), (len(first), 3))
        return _Candidates(members[first], members[second], turned, frames)

    def _framed(self) -> _Candidates:
        """Pairs of which one, through some frame, is near the other."""
        everyone = np.arange(len(self.rows))
        known = Neighbourhoods(self.patterns, _FRAME_ORDERS, flips=self.flips)
        found = []
        for frame in FRAMES:
            seen = self._seen_through(frame)
            near, _ = known.nearest(seen, _NEAREST_FRAMED, _FRAME_REACH)
            first, second = np.repeat(everyone, near.shape[1])[near.ravel() >= 0], near[near >= 0]
            for start in range(0, len(first), _READ):
                one, two = first[start : start + _READ], second[start : start + _READ]
                turned = self._mirrored(seen[one], self.patterns[two])
                other = np.where(turned[:, None], mirror(self.patterns[two]), self.patterns[two])
                frames, left = estimate(seen[one], other, np.broadcast_to(frame, (len(one), 3)))
                candidates = _Candidates(one, two, turned, frames)
                found.append((left, *candidates.take(left <= _ALIGNED_REACH)) if False else (candidates.take(left <= _ALIGNED_REACH), left[left <= _ALIGNED_REACH]))
        candidates = _Candidates(*(np.concatenate(parts) for parts in zip(*(each for each, _ in found), strict=True)))
        left = np.concatenate([each for _, each in found])
        # Of each pair the frame that leaves least.
        lower, upper = np.minimum(candidates.first, candidates.second), np.maximum(candidates.first, candidates.second)
        order = np.lexsort((left, upper, lower))
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(lower[order]) != 0) | (np.diff(upper[order]) != 0)
        return candidates.take(order[new])

    def _seen_through(self, frame: Frame) -> np.ndarray:
        """The patterns of all images through a frame."""
        found = np.empty_like(self.patterns)
        order = np.argsort(self.rows)
        for start in range(0, len(order), _READ):
            here = order[start : start + _READ]
            found[here] = framed_patterns(self.views(self.rows[here]), frame)
        return found

    def _mirrored(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return mirrored(one, two) if self.flips else np.zeros(len(one), bool)

    def _verified(
        self, candidates: _Candidates, measure: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those that are similar enough: first, second (indices) and similarity."""
        candidates = candidates.take(np.argsort(self.rows[candidates.first], kind="stable"))
        alike = np.empty(len(candidates.first), np.float32)
        for start in range(0, len(alike), _CHUNK):
            part = candidates.take(slice(start, start + _CHUNK))
            rows, places = np.unique(self.rows[np.concatenate(part[:2])], return_inverse=True)
            one, two = np.split(self.views(rows)[places], 2)
            alike[start : start + _CHUNK] = measure(one, two, part)
        enough = alike >= self.least
        return candidates.first[enough], candidates.second[enough], alike[enough]


def _unordered(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, the lower index first; -1 is no index."""
    lower, upper = np.minimum(first, second)[second >= 0], np.maximum(first, second)[second >= 0]
    packed = np.unique(lower << 32 | upper)
    return packed >> 32, packed & 0xFFFFFFFF


def _grey_and_colours(views: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels, cells = grey(views), colours(views)
    pixels[turned] = pixels[turned, :, ::-1]
    cells[turned] = cells[turned, :, ::-1]
    return pixels, cells


def _alike(one: np.ndarray, two: np.ndarray, part: _Candidates) -> np.ndarray:
    first, first_cells = _grey_and_colours(one, np.zeros(len(one), bool))
    second, second_cells = _grey_and_colours(two, part.mirrored)
    return np.where(same_colours(first_cells, second_cells), similarity(first, second), -np.inf)


def _alike_aligned(one: np.ndarray, two: np.ndarray, part: _Candidates) -> np.ndarray:
    first, first_cells = _grey_and_colours(one, np.zeros(len(one), bool))
    second, second_cells = _grey_and_colours(two, part.mirrored)
    cells = np.stack([seen_through(first_cells[..., c], part.frames)[0] for c in range(3)], axis=-1)
    return np.where(same_colours(cells, second_cells), similarity(*align(first, second, part.frames)), -np.inf)
