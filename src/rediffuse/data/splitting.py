"""Splits in which every class has its share and no duplicate group straddles two parts.

Groups are drawn in the order of a hash of (seed, group), so that a group's turn depends on nothing but its name: not on
the order of the rows, and hardly on what else the data holds. Each class has a quota in each part, its share of the
class rounded so that the parts' totals are right too; a group goes into a part when the quotas of all its members'
classes have room. Where a group is one image, each part holds its quota exactly.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from rediffuse.data.manifest import SPLITS
from rediffuse.errors import UserError
from rediffuse.seeds import hashed_seed


@dataclass(frozen=True)
class _Group:
    rows: list[int]
    labels: Counter[int]


def assign(
    groups: Sequence[str],
    labels: Sequence[int],
    in_test: Sequence[bool],
    classes: Sequence[str],
    *,
    val_share: float,
    test_share: float,
    seed: int,
) -> list[str]:
    """The split of each example: train, val or test.

    A group with an example in the source's own test set is test as a whole, and where there is such a set, only val is
    cut from the rest: val_share is then a share of the rest. Each part that is cut has at least one group a class.

    Args:
        groups: duplicate group of each of N examples.
        labels: class of each, -1: unlabelled.
        in_test: whether the source's own test set holds it.
        classes: class names, position = label.
        val_share: of the images, above 0, at most 0.4.
        test_share: likewise; unused where the source brings a test set.
        seed: the experiment's.

    Raises:
        UserError: a class can't be in every part; the message names it and its counts.
    """
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    splits = ["train"] * len(groups)
    free: list[_Group] = []
    for group in sorted(members, key=lambda name: (hashed_seed(seed, f"split/{name}"), name)):
        rows = members[group]
        if any(in_test[i] for i in rows):
            _put(rows, "test", splits)
        else:
            free.append(_Group(rows, Counter(labels[i] for i in rows)))

    parts = {"val": val_share} if any(in_test) else {"test": test_share, "val": val_share}
    total = sum((group.labels for group in free), Counter[int]())
    for part, quota in _quotas(total, parts).items():
        free = _fill(part, quota, free, splits)
    _check(splits, labels, groups, classes, ("train", *parts))
    return splits


def measure(splits: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """Examples in each split and class, and how far a class's share in a split is from its share in all, at most."""
    whole, parts = Counter(labels), Counter(splits)
    cells = Counter(zip(splits, labels, strict=True))
    deviations = (
        abs(cells[part, label] / parts[part] - whole[label] / len(labels))
        for part in SPLITS
        for label in whole
        if parts[part]
    )
    return {
        "counts": {part: parts[part] for part in SPLITS},
        "classes": {part: {name: cells[part, label] for label, name in enumerate(classes)} for part in SPLITS},
        "greatest_deviation": max(deviations),
    }


def _quotas(total: Mapping[int, int], parts: Mapping[str, float]) -> dict[str, dict[int, int]]:
    """Examples of each class in each part: at least one, and at least one left for each part to come and for train."""
    left = dict(total)
    quotas: dict[str, dict[int, int]] = {}
    for done, (part, share) in enumerate(parts.items()):
        to_come = len(parts) - done
        rounded = _largest_remainder(total, share)
        quotas[part] = {label: min(max(rounded[label], 1), left[label] - to_come) for label in total}
        left = {label: left[label] - quotas[part][label] for label in total}
    return quotas


def _largest_remainder(total: Mapping[int, int], share: float) -> dict[int, int]:
    """share × total for each class, rounded down or up so that the sum is share × the sum, rounded."""
    exact = {label: share * count for label, count in sorted(total.items())}
    rounded = {label: floor(value) for label, value in exact.items()}
    missing = round(share * sum(total.values())) - sum(rounded.values())
    for label in sorted(exact, key=lambda label: rounded[label] - exact[label])[:missing]:
        rounded[label] += 1
    return rounded


def _fill(part: str, quota: Mapping[int, int], free: Sequence[_Group], splits: list[str]) -> list[_Group]:
    """Put groups into a part, in their turn, while its quotas have room; give those that stay free."""
    room = dict(quota)
    rest: list[_Group] = []
    chosen: list[_Group] = []
    for group in free:
        if all(room[label] >= count for label, count in group.labels.items()):
            chosen.append(group)
            for label, count in group.labels.items():
                room[label] -= count
        else:
            rest.append(group)
    for label in sorted(quota):
        if not any(label in group.labels for group in chosen):
            # Every group of the class is larger than its quota. Too much is better than a part without the class.
            candidates = [group for group in rest if label in group.labels]
            smallest = min(candidates, key=lambda group: len(group.rows), default=None)
            if smallest:
                rest.remove(smallest)
                chosen.append(smallest)
    for group in chosen:
        _put(group.rows, part, splits)
    return rest


def _put(rows: Sequence[int], part: str, splits: list[str]) -> None:
    for i in rows:
        splits[i] = part


def _check(
    splits: Sequence[str], labels: Sequence[int], groups: Sequence[str], classes: Sequence[str], parts: Sequence[str]
) -> None:
    present = set(zip(splits, labels, strict=True))
    for label in sorted(set(labels)):
        if all((part, label) in present for part in parts):
            continue
        rows = [i for i, other in enumerate(labels) if other == label and splits[i] in parts]
        distinct = len({groups[i] for i in rows})
        name = f"the class {classes[label]!r}" if label >= 0 else "the data set"
        raise UserError(
            f"{name} has too few images to divide over {', '.join(parts)}: {len(rows)}, of which {distinct} are no "
            "duplicates of each other; each part needs at least one"
        )
