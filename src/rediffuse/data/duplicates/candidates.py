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
_CHUNK = 8192

_ABSENT = np.iinfo(np.int64).max
_INDEX_BITS = 40

_ODD = np.arange(WAVES * WAVES) % 2 == 1
"""The coefficients whose sign turns when the picture is mirrored."""


class _Order(NamedTuple):
    """One sorted order: directions, the 255 edges between the digits of each, and the sorted codes of the members."""

    directions: np.ndarray
    edges: np.ndarray
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
            parts: int64, n: patterns of its own part are no neighbours of a query either.

        Returns:
            Indices, int64 of n×count, nearest first, ties by index; -1 where there are no more.
        """
        best = np.full((len(queries), count), _ABSENT)
        for order in self._orders:
            self._meet(queries, order, best, reach, parts)
        absent = best == _ABSENT
        best &= (1 << _INDEX_BITS) - 1
        best[absent] = -1
        return best

    def _sort(self, number: int) -> _Order:
        random = np.random.default_rng(hashed_seed(0, "near duplicates/order", number))
        directions = np.rint(random.normal(0, 16, (WAVES * WAVES, _DIRECTIONS))).astype(np.float32)
        if self._flips:
            directions[~_ODD, :_TURNING] = 0
            directions[_ODD, _TURNING:] = 0
        places = self._places(self._patterns, directions)
        quantiles = len(places) * np.arange(1, 256) // 256
        edges = np.stack([np.sort(column)[quantiles] for column in places.T], axis=1)
        codes = _codes(places, edges)
        members = np.argsort(codes, kind="stable").astype(np.int32)
        return _Order(directions, edges, codes[members], members)

    def _places(self, patterns: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Where patterns stand along eight directions: float32, n×8."""
        places = np.empty((len(patterns), _DIRECTIONS), np.float32)
        for start in range(0, len(patterns), _CHUNK):
            part = slice(start, start + _CHUNK)
            places[part] = patterns[part].astype(np.float32) @ directions
        if self._flips:
            np.abs(places[:, :_TURNING], out=places[:, :_TURNING])
        return places

    def _sorted(self, queries: np.ndarray, order: _Order) -> tuple[np.ndarray, np.ndarray]:
        """Queries in an order, and their codes."""
        if queries is self._patterns:
            return order.members, order.codes
        codes = np.empty(len(queries), np.uint64)
        for start in range(0, len(queries), _CHUNK):
            part = slice(start, start + _CHUNK)
            codes[part] = _codes(self._places(queries[part], order.directions), order.edges)
        sequence = np.argsort(codes, kind="stable")
        return sequence, codes[sequence]

    def _meet(
        self, queries: np.ndarray, order: _Order, best: np.ndarray, reach: float, parts: np.ndarray | None
    ) -> None:
        """Compare queries with what stands near their places in an order; keep in `best` what is nearest so far."""
        sequence, ranked = self._sorted(queries, order)
        members = np.concatenate([order.members, np.full(3 * _HALF, -1)])
        # A block of queries meets one window, about its middle query. Where all codes are equal they say nothing of
        # where that is: patterns among themselves go by their own places.
        middle = np.minimum(np.arange(0, len(ranked), _HALF) + _HALF // 2, len(ranked) - 1)
        if queries is not self._patterns:
            middle = np.searchsorted(order.codes, ranked[middle])
        starts = np.clip(middle - 3 * _HALF // 2, 0, max(0, len(order.members) - 3 * _HALF))
        sequence = np.concatenate([sequence, np.full(-len(sequence) % _HALF, -1)]).reshape(-1, _HALF)
        for first in range(0, len(starts), _BLOCKS):
            rows = sequence[first : first + _BLOCKS]
            columns = members[starts[first : first + _BLOCKS, None] + np.arange(3 * _HALF)]
            distances = self._distances(queries[rows], self._patterns[columns])
            near, far = (rows, columns) if parts is None else (parts[rows], parts[columns])
            distances[(near[:, :, None] == far[:, None]) | (columns < 0)[:, None]] = np.inf
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
    return np.asarray((left[:, _ODD].astype(np.int64) * right[:, _ODD]).sum(axis=1) < 0)


def mirror(patterns: np.ndarray) -> np.ndarray:
    """The patterns of mirrored images."""
    return np.where(_ODD, -patterns, patterns)


def _keep(best: np.ndarray, rows: np.ndarray, columns: np.ndarray, distances: np.ndarray, reach: float) -> None:
    """Merge the nearest columns of each row into what is known of it: distance and index, packed into one integer."""
    count = min(best.shape[1], distances.shape[2])
    chosen = np.argpartition(distances, count - 1, axis=2)[..., :count]
    near = np.take_along_axis(distances, chosen, axis=2)
    found = np.take_along_axis(np.broadcast_to(columns[:, None], distances.shape), chosen, axis=2)
    far = near > reach * reach
    packed = (np.where(far, 0, near).astype(np.int64) << _INDEX_BITS) + found
    packed[far] = _ABSENT
    real = rows >= 0
    both = np.concatenate([best[rows[real]], packed[real]], axis=1)
    both.sort(axis=1)
    both[:, 1:][both[:, 1:] == both[:, :-1]] = _ABSENT
    both.sort(axis=1)
    best[rows[real]] = both[:, : best.shape[1]]


def _codes(places: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Places along eight directions as one number, their digits' bits interleaved (a Z-order): uint64, n."""
    digits = np.empty(places.shape, np.uint8)
    for column in range(_DIRECTIONS):
        digits[:, column] = np.searchsorted(edges[:, column], places[:, column], side="right")
    bits = digits.view(">u8").astype(np.uint64)[:, 0]
    # Transposes an 8×8 matrix of bits (Warren, Hacker's Delight, 2nd edition, section 7-3).
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        swapped = (bits ^ (bits >> np.uint64(shift))) & np.uint64(mask)
        bits ^= swapped ^ (swapped << np.uint64(shift))
    return bits
