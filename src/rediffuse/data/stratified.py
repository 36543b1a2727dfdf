"""A cut in which every class has its share: each class has a quota in each part, and groups fill the quotas in turn.

A quota is the class's share, rounded so that the parts' totals are right too. A group goes into a part when the quotas
of all its members' classes have room, and when it leaves a group of each class to each part that is still to be filled.
Where a group is one image, each part holds its quota exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def stratify(turns: Integers, labels: Integers, shares: Mapping[int, float], rest: int) -> Integers:
    """The part of each of N images.

    Args:
        turns: of each image's group, (N,): 0 to the number of groups - 1, each of them in use.
        labels: class of each, (N,), -1: unlabelled.
        shares: part -> share of the images, in the order in which the parts are filled. Each part gets at least one
            image of each class, as long as there are as many groups; of the unlabelled ones where there are no others.
        rest: the part of all that no share covers.
    """
    names, kinds = np.unique(labels, return_inverse=True)
    if not len(names):
        return np.zeros(0, np.int64)
    groups = _Groups.of(turns, kinds, len(names))
    needed = [label >= 0 or len(names) == 1 for label in names.tolist()]
    parts = np.full(len(groups.sizes), rest)
    free = np.ones(len(groups.sizes), bool)
    quotas = _quotas(np.bincount(kinds).tolist(), needed, list(shares.values()))
    for done, (part, quota) in enumerate(zip(shares, quotas, strict=True)):
        chosen = _fill(groups, free, quota, needed, to_come=len(shares) - done)
        parts[chosen] = part
        free[chosen] = False
    return parts[turns]


@dataclass(frozen=True)
class _Groups:
    """Groups in their turn; the cells `first[i]` to `first[i + 1]` tell how many images of which class group i has."""

    first: Integers
    owners: Integers
    kinds: Integers
    counts: Integers
    sizes: Integers

    @classmethod
    def of(cls, turns: Integers, kinds: Integers, classes: int) -> "_Groups":
        cells, counts = np.unique(turns * classes + kinds, return_counts=True)
        sizes = np.bincount(turns)
        first = np.searchsorted(cells, np.arange(len(sizes) + 1) * classes)
        return cls(first, cells // classes, cells % classes, counts, sizes)

    def holding(self, kind: int) -> Integers:
        """The groups with an image of a class, in their turn."""
        owners: Integers = self.owners[self.kinds == kind]
        return owners


def _quotas(totals: Sequence[int], needed: Sequence[bool], shares: Sequence[float]) -> list[list[int]]:
    """Images of each class in each part: at least one of a class that is needed everywhere, and at least one left for
    each part to come and for the rest."""
    left = list(totals)
    quotas = []
    for done, share in enumerate(shares):
        to_come = len(shares) - done
        rounded = _largest_remainder(totals, share)
        quota = [
            min(max(count, 1), remaining - to_come) if required else min(count, remaining)
            for count, remaining, required in zip(rounded, left, needed, strict=True)
        ]
        quotas.append(quota)
        left = [remaining - count for remaining, count in zip(left, quota, strict=True)]
    return quotas


def _largest_remainder(totals: Sequence[int], share: float) -> list[int]:
    """share × total for each class, rounded down or up so that the sum is share × the sum, rounded."""
    exact = [share * total for total in totals]
    rounded = [floor(value) for value in exact]
    missing = round(share * sum(totals)) - sum(rounded)
    for kind in sorted(range(len(exact)), key=lambda kind: rounded[kind] - exact[kind])[:missing]:
        rounded[kind] += 1
    return rounded


def _fill(
    groups: _Groups, free: NDArray[np.bool_], quota: Sequence[int], needed: Sequence[bool], *, to_come: int
) -> list[int]:
    """The groups that go into a part: the `free` ones in their turn, while its quotas have room.

    Of each class that is needed, `to_come` groups stay free: one for each later part and one for the rest.
    """
    room, vacant = list(quota), sum(count for count in quota if count > 0)
    left = np.bincount(groups.kinds[free[groups.owners]], minlength=len(quota)).tolist()
    spare = [count - to_come if required else count for count, required in zip(left, needed, strict=True)]
    # Memory views: one number at a time they are faster than arrays, and they copy nothing, as lists would.
    first, kinds, counts = groups.first.data, groups.kinds.data, groups.counts.data
    chosen = []

    def take(group: int) -> int:
        chosen.append(group)
        for cell in range(first[group], first[group + 1]):
            room[kinds[cell]] -= counts[cell]
            spare[kinds[cell]] -= 1
        return int(groups.sizes[group])

    def is_spare(group: int) -> bool:
        return all(spare[kinds[cell]] > 0 for cell in range(first[group], first[group + 1]))

    for group in np.flatnonzero(free).data:
        if all(room[kinds[cell]] >= counts[cell] for cell in range(first[group], first[group + 1])) and is_spare(group):
            vacant -= take(group)
            if not vacant:
                break
    for kind, required in enumerate(needed):
        if required and room[kind] == quota[kind]:
            # Each group of the class is larger than its quota, or may not be spared by another class. Too much is
            # better than a part without the class.
            holding = np.setdiff1d(groups.holding(kind), chosen)
            candidates = holding[free[holding]].tolist()
            if candidates:
                take(min(candidates, key=lambda group: (not is_spare(group), groups.sizes[group])))
    return chosen
