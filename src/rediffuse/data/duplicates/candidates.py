"""Which images to compare: for each pattern the nearest among its neighbours in several sorted orders.

Every pattern meets the same number of others in each order, however many look alike, so the cost is that of sorting.
Distances are of integers that float32 holds exactly: the same on every machine, whatever stands in the same block.
"""

from typing import NamedTuple

import numpy as np

from rediffuse.data.duplicates.keys import WAVES
from rediffuse.seeds import hashed_seed

_DIRECTIONS = 8
_TURNING = 3
"""Directions of the eight that see, by its size alone, what mirroring turns."""

_HALF = 32
"""A pattern meets about so many on each side in every order; blocks of so many are compared at once."""

_BLOCKS = 128
_CHUNK = 4096

_ABSENT = np.iinfo(np.int64).max
_INDEX_BITS = 40

_ODD = np.arange(WAVES * WAVES) % 2 == 1
"""The coefficients whose sign turns when the picture is mirrored."""


class _Digits:
    """Codes of places along eight directions.

    Args:
        edges: float32 of integers, 255×8, rising: between the 256 digits of each direction.
    """

    def __init__(self, edges: np.ndarray) -> None:
        # Places are integers: to look a digit up is faster than to search for it.
        self._below = edges[0] - 1
        self._spans = edges[-1] - self._below
        self._tables = [
            np.bincount(column.astype(np.int64)).cumsum().astype(np.uint8) for column in (edges - self._below).T
        ]

    def codes(self, places: np.ndarray) -> np.ndarray:
        """Places (float32, n×8) as one number, their digits' bits interleaved (a Z-order): uint64, n."""
        digits = np.empty(places.shape, np.uint8)
        at = np.clip(places - self._below, 0, self._spans).astype(np.int32)
        for column, table in enumerate(self._tables):
            digits[:, column] = table[at[:, column]]
        bits = digits.view(">u8").astype(np.uint64)[:, 0]
        # Transposes an 8×8 matrix of bits (Warren, Hacker's Delight, 2nd edition, section 7-3).
        for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
            swapped = (bits ^ (bits >> np.uint64(shift))) & np.uint64(mask)
            bits ^= swapped ^ (swapped << np.uint64(shift))
        return bits


class _Order(NamedTuple):
    """One sorted order: directions, the digits along each, and the sorted codes of the members."""

    directions: np.ndarray
    digits: _Digits
    codes: np.ndarray
    members: np.ndarray


class Neighbourhoods:
    """Patterns in several sorted orders.

    Args:
        patterns: int8, n×64.
        orders: how many.
        flips: a pattern is as near as it or its mirror image is.
    """

    def __init__(self, patterns: np.ndarray, orders: int, *, flips: bool) -> None:
        self._patterns = patterns
        self._flips = flips
        self._orders = [self._sort(number) for number in range(orders)]

    def nearest(self, queries: np.ndarray, count: int, reach: float, parts: np.ndarray | None = None) -> np.ndarray:
        """Of each query's neighbours the nearest patterns, but not that of its own index.

        Args:
            queries: int8, n×64, one for each pattern.
            count: how many, at most.
            reach: greatest distance, in units in which patterns have length 127.
            parts: n integers: patterns of its own part are no neighbours of a query either.

        Returns:
            Indices, int32 of n×count, nearest first, ties by index; -1 where there are no more.
        """
        best = np.full((len(queries), count), _ABSENT)
        own = queries is self._patterns
        codes = None if own else self._codes(queries)
        for order in self._orders:
            if codes is None:
                self._meet(queries, order, order.members, order.codes, best, reach, parts)
            else:
                ranked = codes.pop(0)
                sequence = np.argsort(ranked, kind="stable").astype(np.int32)
                self._meet(queries, order, sequence, ranked[sequence], best, reach, parts)
        found = np.empty(best.shape, np.int32)
        for start in range(0, len(best), _CHUNK):
            part = best[start : start + _CHUNK]
            found[start : start + _CHUNK] = np.where(part == _ABSENT, -1, part & ((1 << _INDEX_BITS) - 1))
        return found

    def _sort(self, number: int) -> _Order:
        random = np.random.default_rng(hashed_seed(0, "near duplicates/order", number))
        directions = np.rint(random.normal(0, 16, (WAVES * WAVES, _DIRECTIONS))).astype(np.float32)
        if self._flips:
            directions[~_ODD, :_TURNING] = 0
            directions[_ODD, _TURNING:] = 0
        places = np.empty((len(self._patterns), _DIRECTIONS), np.float32)
        for start in range(0, len(places), _CHUNK):
            part = slice(start, start + _CHUNK)
            places[part] = self._places(self._patterns[part], directions)[:, 0]
        quantiles = len(places) * np.arange(1, 256) // 256
        edges = np.stack([np.sort(column)[quantiles] for column in places.T], axis=1)
        digits = _Digits(edges)
        codes = np.empty(len(places), np.uint64)
        for start in range(0, len(places), _CHUNK):
            codes[start : start + _CHUNK] = digits.codes(places[start : start + _CHUNK])
        del places
        members = np.argsort(codes, kind="stable").astype(np.int32)
        return _Order(directions, digits, codes[members], members)

    def _places(self, patterns: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Where patterns stand along the eight directions of each order: float32, n×orders×8."""
        places: np.ndarray = (patterns.astype(np.float32) @ directions).reshape(len(patterns), -1, _DIRECTIONS)
        if self._flips:
            np.abs(places[..., :_TURNING], out=places[..., :_TURNING])
        return places

    def _codes(self, queries: np.ndarray) -> list[np.ndarray]:
        """The codes of queries in each order: uint64, n."""
        codes = [np.empty(len(queries), np.uint64) for _ in self._orders]
        directions = np.concatenate([order.directions for order in self._orders], axis=1)
        for start in range(0, len(queries), _CHUNK):
            places = self._places(queries[start : start + _CHUNK], directions)
            for number, order in enumerate(self._orders):
                codes[number][start : start + _CHUNK] = order.digits.codes(places[:, number])
        return codes

    def _meet(
        self,
        queries: np.ndarray,
        order: _Order,
        sequence: np.ndarray,
        ranked: np.ndarray,
        best: np.ndarray,
        reach: float,
        parts: np.ndarray | None,
    ) -> None:
        """Compare queries, in the sequence of their codes, with what stands near their places in an order.

        Keeps in `best` what is nearest so far.
        """
        members = np.concatenate([order.members, np.full(3 * _HALF, -1, np.int32)])
        # A block of queries meets one window, about its middle query. Where all codes are equal they say nothing of
        # where that is: patterns among themselves go by their own places.
        middle = np.minimum(np.arange(0, len(ranked), _HALF) + _HALF // 2, len(ranked) - 1)
        if queries is not self._patterns:
            middle = np.searchsorted(order.codes, ranked[middle])
        starts = np.clip(middle - 3 * _HALF // 2, 0, max(0, len(order.members) - 3 * _HALF))
        sequence = np.concatenate([sequence, np.full(-len(sequence) % _HALF, -1, np.int32)]).reshape(-1, _HALF)
        for first in range(0, len(starts), _BLOCKS):
            rows = sequence[first : first + _BLOCKS]
            columns = members[starts[first : first + _BLOCKS, None] + np.arange(3 * _HALF)]
            distances = self._distances(queries[rows], self._patterns[columns])
            near, far = (rows, columns) if parts is None else (parts[rows], parts[columns])
            np.copyto(distances, np.inf, where=near[:, :, None] == far[:, None])
            if len(order.members) < 3 * _HALF:
                np.copyto(distances, np.inf, where=(columns < 0)[:, None])
            _keep(best, rows, columns, distances, reach)

    def _distances(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Squared distances between the rows of blocks: float32, blocks×m×n."""
        left, right = left.astype(np.float32), right.astype(np.float32)
        norms = (left * left).sum(axis=2)[:, :, None] + (right * right).sum(axis=2)[:, None]
        if self._flips:
            turned = left[..., _ODD] @ right[..., _ODD].transpose(0, 2, 1)
            dots = left[..., ~_ODD] @ right[..., ~_ODD].transpose(0, 2, 1) + np.abs(turned)
        else:
            dots = left @ right.transpose(0, 2, 1)
        return np.asarray(norms - 2 * dots)


def mirrored(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether a pattern is nearer to another's mirror image than to the other: bool, n."""
    return np.asarray((left[:, _ODD].astype(np.int32) * right[:, _ODD]).sum(axis=1) < 0)


def mirror(patterns: np.ndarray) -> np.ndarray:
    """The patterns of mirrored images."""
    return np.where(_ODD, -patterns, patterns)


def _keep(best: np.ndarray, rows: np.ndarray, columns: np.ndarray, distances: np.ndarray, reach: float) -> None:
    """Merge the nearest columns of each row into what is known of it: distance and index, packed into one integer."""
    shape, count = distances.shape, min(best.shape[1], distances.shape[2])
    every = distances.reshape(-1, shape[2])
    # Few rows have anything within reach, where it is small.
    some = np.flatnonzero((every.min(axis=1) <= reach * reach) & (rows.reshape(-1) >= 0))
    every, row = every[some], rows.reshape(-1)[some]
    chosen, near = _least(every, count)
    found = columns[some[:, None] // shape[1], chosen].astype(np.int64)
    far = near > reach * reach
    packed = (np.where(far, 0, near).astype(np.int64) << _INDEX_BITS) + found
    packed[far] = _ABSENT
    both = np.concatenate([best[row], packed], axis=1)
    both.sort(axis=1)
    both[:, 1:][both[:, 1:] == both[:, :-1]] = _ABSENT
    both.sort(axis=1)
    best[row] = both[:, : best.shape[1]]


def _least(distances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the least of each row are, and what they are: n×count, in no order. Overwrites the distances."""
    if count > 2:
        chosen = np.argpartition(distances, count - 1, axis=1)[:, :count]
        return chosen, np.take_along_axis(distances, chosen, axis=1)
    every = np.arange(len(distances))
    chosen, least = np.empty((len(distances), count), np.int64), np.empty((len(distances), count), distances.dtype)
    for turn in range(count):
        chosen[:, turn] = distances.argmin(axis=1)
        least[:, turn] = distances[every, chosen[:, turn]]
        distances[every, chosen[:, turn]] = np.inf
    return chosen, least
