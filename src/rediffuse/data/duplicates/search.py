"""Near duplicates among any number of images: candidates from their keys, verified on their views."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from rediffuse.data.duplicates.alignment import estimate
from rediffuse.data.duplicates.candidates import Neighbourhoods, mirror, mirrored
from rediffuse.data.duplicates.comparison import Candidates, compare_framed, compare_whole
from rediffuse.data.duplicates.groups import components
from rediffuse.data.duplicates.keys import WAVES, framed_patterns, patterns
from rediffuse.data.duplicates.sampling import Frame

FRAMES = tuple(
    Frame(1 - cut, 0.3 * cut * right, 0.3 * cut * down)
    for cut in (0.035, 0.09)
    for down in (-1, 1)
    for right in (-1, 1)
)
"""The parts of a picture that are looked for among the others: near one of them lies any crop by up to 10 %."""

_ORDERS, _FRAME_ORDERS = 6, 4
"""Sorted orders in which an image meets others, as it is and through each frame."""

_NEAREST, _FRAME_NEAREST = 4, 2
"""How many of those it meets may be the same picture."""

_NEAREST_OF_MANY = 32
"""The same where more are as near: what shares a template shares its coarse pattern, and hides a copy behind it."""

_REACH = 16.0
"""Greatest distance of two patterns of the same picture, whatever was done to it but cropping."""

_FRAME_REACH = 32.0
"""The same where a frame is only near the crop."""

_ESTIMATE_REACH = 14.0
"""The same after one step from there towards the crop."""

_READ = 2048
"""Views in memory at once, and candidates that are looked at together."""

_COMPARED = 256
"""Pairs compared at once: what is computed of them fits a processor's cache."""

Views = Callable[[np.ndarray], np.ndarray]
"""Gives the views, uint8 of m×1072, of rows, int64 and rising."""

_Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""First and second index of pairs, and their similarity."""


class Pairs(NamedTuple):
    """Pairs of rows, first < second, sorted: int64, int64 and float32."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray


def near_duplicates(keys: np.ndarray, views: Views, *, similarity: float, flips: bool) -> Pairs:
    """Pairs of images that show the same picture: what they link is a group of near duplicates.

    Equal views are always found, and of the others each image's nearest ones, so of many copies of a picture not every
    pair. The groups depend on the images, not on the order of the rows. Time grows with the number of images as that
    of sorting does, and memory by some 300 bytes an image.

    Args:
        keys: uint64, N×9, from `keys`.
        views: the views of some rows.
        similarity: least similarity of a pair, see `verification.similarity`; above 0, up to 1.
        flips: a mirrored copy shows the same picture.
    """
    # In the order of their hashes images have the same places whatever rows they stand in.
    hashes, place = np.unique(keys[:, -1], return_inverse=True)
    row = np.full(len(hashes), len(keys))
    np.minimum.at(row, place, np.arange(len(keys)))
    repeats = np.flatnonzero(row[place] != np.arange(len(keys)))
    place = place.astype(np.int32)
    del hashes
    known = np.empty((len(row), WAVES * WAVES), np.int8)
    for start in range(0, len(row), _READ):
        known[start : start + _READ] = patterns(keys[row[start : start + _READ]])
    first, second, alike = _Search(known, row, views, similarity, flips=flips).pairs()
    one = np.concatenate([row[place[repeats]], row[first]])
    two = np.concatenate([repeats, row[second]])
    alike = np.concatenate([np.ones(len(repeats), np.float32), alike])
    lower, upper = np.minimum(one, two), np.maximum(one, two)
    # A pair that is found twice keeps the greater similarity.
    order = np.lexsort((-alike, upper, lower))
    order = order[_begins(lower[order], upper[order])]
    return Pairs(lower[order], upper[order], alike[order])


class _Search:
    """Images whose views all differ.

    Args:
        patterns: int8, n×64, in an order that is the images' own.
        rows: int64, n, under which their views are known.
        views, least, flips: as above.
    """

    def __init__(self, patterns: np.ndarray, rows: np.ndarray, views: Views, least: float, *, flips: bool) -> None:
        self._patterns = patterns
        self._rows = rows
        self._views = views
        self._least = least
        self._flips = flips

    def pairs(self) -> _Found:
        """What is verified; a pair may be there twice."""
        every = np.arange(len(self._rows), dtype=np.int32)
        near = self._near(every, _NEAREST)
        found = [self._verified(self._whole(every, near), compare_whole)]
        # A pair that neither of its images has among its nearest is of two that have as many nearer ones.
        full = np.flatnonzero(near[:, -1] >= 0).astype(np.int32)
        near = near[full]
        found += self._linked(*found[0][:2], full, near)
        found.append(self._verified(self._framed(), compare_framed))
        first, second, alike = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return first, second, alike

    def _linked(self, first: np.ndarray, second: np.ndarray, full: np.ndarray, near: np.ndarray) -> Iterator[_Found]:
        """What is found of images whose nearest are others (`near`) that are not the same picture, or are known to be.

        Once among all of these (`full`), then while parts grow that are larger than what an image sees of them.
        """
        part = components(len(self._rows), first, second)
        many = self._near(full, _NEAREST_OF_MANY, part[full])
        for column in near.T:
            many[many == column[:, None]] = -1
        found = self._verified(self._whole(full, many), compare_whole)
        while True:
            yield found
            first, second = np.concatenate([first, found[0]]), np.concatenate([second, found[1]])
            part = components(len(self._rows), first, second)
            large = np.flatnonzero(np.bincount(part, minlength=len(part))[part] > _NEAREST)
            found = self._verified(self._whole(large, self._near(large, _NEAREST, part[large])), compare_whole)
            if not len(found[0]):
                return

    def _near(self, members: np.ndarray, count: int, parts: np.ndarray | None = None) -> np.ndarray:
        """For each of some images the nearest others of them, of other parts, as they are: n×count, -1 for none."""
        if len(members) < 2:
            return np.full((len(members), count), -1, np.int32)
        known = self._patterns if len(members) == len(self._rows) else self._patterns[members]
        near = Neighbourhoods(known, _ORDERS, flips=self._flips).nearest(known, count, _REACH, parts)
        near[near >= 0] = members[near[near >= 0]]
        return near

    def _whole(self, members: np.ndarray, near: np.ndarray) -> Candidates:
        """Pairs of some images and what is near them, as they are."""
        one, two = members[np.nonzero(near >= 0)[0]], near[near >= 0]
        lower, upper = np.minimum(one, two), np.maximum(one, two)
        order = np.lexsort((upper, lower))
        order = order[_begins(lower[order], upper[order])]
        one, two = lower[order], upper[order]
        turned = np.empty(len(one), bool)
        for start in range(0, len(one), _READ):
            part = slice(start, start + _READ)
            turned[part] = self._mirrored(self._patterns[one[part]], self._patterns[two[part]])
        return Candidates(one, two, turned, np.tile(np.array(Frame(1, 0, 0), np.float32), (len(one), 1)))

    def _framed(self) -> Candidates:
        """Pairs of which one is near the other through a frame."""
        if len(self._rows) < 2:
            return self._whole(np.empty(0, np.int32), np.empty((0, 1), np.int32))
        known = Neighbourhoods(self._patterns, _FRAME_ORDERS, flips=self._flips)
        found, distances = [], []
        for frame in FRAMES:
            seen = self._seen_through(frame)
            near = known.nearest(seen, _FRAME_NEAREST, _FRAME_REACH)
            for start in range(0, len(near), _READ):
                part = near[start : start + _READ]
                one, two = (start + np.nonzero(part >= 0)[0]).astype(np.int32), part[part >= 0]
                turned = self._mirrored(seen[one], self._patterns[two])
                other = np.where(turned[:, None], mirror(self._patterns[two]), self._patterns[two])
                frames, left = estimate(seen[one], other, np.tile(frame, (len(one), 1)))
                near_enough = left <= _ESTIMATE_REACH
                found.append(Candidates(one, two, turned, frames).take(near_enough))
                distances.append(left[near_enough])
            del seen, near
        del known
        pairs = Candidates(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        # Of each pair the frame that leaves least.
        lower, upper = np.minimum(pairs.first, pairs.second), np.maximum(pairs.first, pairs.second)
        order = np.lexsort((np.concatenate(distances), upper, lower))
        del found, distances
        return pairs.take(order[_begins(lower[order], upper[order])])

    def _seen_through(self, frame: Frame) -> np.ndarray:
        """The patterns of all images through a frame."""
        seen = np.empty_like(self._patterns)
        order = np.argsort(self._rows)
        for start in range(0, len(order), _READ):
            here = order[start : start + _READ]
            seen[here] = framed_patterns(self._views(self._rows[here]), frame)
        return seen

    def _mirrored(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return mirrored(one, two) if self._flips else np.zeros(len(one), bool)

    def _verified(
        self, pairs: Candidates, compare: Callable[[np.ndarray, np.ndarray, Candidates, float], np.ndarray]
    ) -> _Found:
        """Those that are similar enough."""
        pairs = pairs.take(np.argsort(self._rows[pairs.first], kind="stable"))
        alike = np.empty(len(pairs.first), np.float32)
        for start in range(0, len(alike), _READ // 2):
            read = pairs.take(slice(start, start + _READ // 2))
            rows, places = np.unique(self._rows[np.concatenate([read.first, read.second])], return_inverse=True)
            views = self._views(rows)
            one, two = np.split(places, 2)
            for begin in range(0, len(one), _COMPARED):
                here = slice(begin, begin + _COMPARED)
                compared = compare(views[one[here]], views[two[here]], read.take(here), self._least)
                alike[start + begin : start + begin + len(compared)] = compared
        enough = alike >= self._least
        return pairs.first[enough], pairs.second[enough], alike[enough]


def _begins(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Where in sorted pairs another one begins."""
    return np.concatenate([[True], (lower[1:] != lower[:-1]) | (upper[1:] != upper[:-1])])[: len(lower)]
