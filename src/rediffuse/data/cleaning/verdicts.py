"""Each row's verdict: kept, quarantined or dropped, for which reason, and with which marks.

The checks run in the order of CHECKS, and each looks only at what those before it left standing: a broken copy never
takes the place of a sound original.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rediffuse.data import checks as simple
from rediffuse.data.cleaning.rows import Array, Rows
from rediffuse.data.duplicates import components, near_duplicates
from rediffuse.data.features import features
from rediffuse.data.manifest import CHECKS, FAULTS
from rediffuse.data.outliers import class_outliers
from rediffuse.data.suspects import label_suspects
from rediffuse.params import ChecksParams

KEEP, QUARANTINE, DROP = range(3)
_ACTIONS = {"keep": KEEP, "quarantine": QUARANTINE, "drop": DROP}

REASONS = (*FAULTS, *CHECKS)


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What becomes of N rows.

    Args:
        action: uint8, KEEP, QUARANTINE or DROP.
        reason: int8, position in REASONS of what decided it; -1 where a row is kept.
        marks: uint16, bit i: CHECKS[i] found the row.
        twin: int64, of what a duplicate or near duplicate repeats the row that stays; else the row itself.
        group: int64, the first of the rows that are duplicates or near duplicates of each other.
        deviations, probability: float32, and suggestion: int32, as in MANIFEST; NaN and -1 where there is none.
    """

    action: Array
    reason: Array
    marks: Array
    twin: Array
    group: Array
    deviations: Array
    probability: Array
    suggestion: Array

    @property
    def kept(self) -> Array:
        """The positions of the rows that are kept, rising."""
        return np.flatnonzero(self.action == KEEP)


class _Judgement:
    """Verdicts in the making."""

    def __init__(self, rows: Rows, checks: ChecksParams) -> None:
        count = len(rows)
        self.rows = rows
        self.checks = checks
        self.action = np.where(rows.fault > 0, DROP, KEEP).astype(np.uint8)
        self.reason = rows.fault.astype(np.int8) - 1
        self.marks = np.zeros(count, np.uint16)
        self.twin = np.arange(count)
        self.group = np.arange(count)

    def standing(self) -> Array:
        """The positions of the rows that no check has taken away yet."""
        return np.flatnonzero(self.action == KEEP)

    def find(self, name: str, positions: Array) -> None:
        """Mark rows as found by a check, and act on those that still stand."""
        positions = positions[self.action[positions] == KEEP]
        self.marks[positions] |= np.uint16(1 << CHECKS.index(name))
        action = _ACTIONS[getattr(self.checks, name).action]
        if action != KEEP:
            self.action[positions] = action
            self.reason[positions] = REASONS.index(name)

    def find_repeated(self, name: str, standing: Array, alike: Array) -> None:
        """Find all but one row of each set of rows that are alike, given as the least member of each row's set."""
        stays = standing[_chosen(self.rows, standing, alike)]
        repeats = stays != standing
        if _ACTIONS[getattr(self.checks, name).action] == KEEP:
            # A copy that may stay is marked as that, and not as nearly one.
            repeats &= self.twin[standing] == standing
        self.twin[standing[repeats]] = stays[repeats]
        self.find(name, standing[repeats])


def judge(rows: Rows, checks: ChecksParams) -> Verdicts:
    """Run every check of `clean.checks`."""
    judgement = _Judgement(rows, checks)
    for name, positions in _simply(judgement):
        judgement.find(name, positions)

    standing = judgement.standing()
    judgement.find_repeated("duplicate", standing, _equal(rows.digest[standing]))

    standing = judgement.standing()
    nearly = near_duplicates(
        rows.keys(standing),
        lambda some: rows.views(standing[some]),
        similarity=checks.near_duplicate.similarity,
        flips=checks.near_duplicate.flips,
    )
    equal = _equal(rows.digest[standing])
    first = np.concatenate([nearly.first, equal])
    second = np.concatenate([nearly.second, np.arange(len(standing))])
    alike = components(len(standing), first, second)
    judgement.group[standing] = standing[alike]
    judgement.find_repeated("near_duplicate", standing, alike)

    standing = judgement.standing()
    label, hashes, group = rows.label[standing], rows.names[standing], judgement.group[standing]
    described = features(rows.views, standing, hashes)
    deviations = class_outliers(described, label, hashes, group)
    probability, suggestion = label_suspects(described, label, hashes, group)
    far = simple.class_outlier(deviations, checks.class_outlier.deviations)
    judgement.find("class_outlier", standing[far])
    doubted = simple.label_suspect(probability, suggestion, checks.label_suspect.probability)
    judgement.find("label_suspect", standing[doubted])

    # A copy that went before the groups were known is in the group of what it repeats.
    alone = judgement.group == np.arange(len(rows))
    judgement.group = judgement.group[np.where(alone, judgement.twin, judgement.group)]
    return Verdicts(
        action=judgement.action,
        reason=judgement.reason,
        marks=judgement.marks,
        twin=judgement.twin,
        group=judgement.group,
        deviations=_spread(deviations, standing, len(rows), np.nan),
        probability=_spread(probability, standing, len(rows), np.nan),
        suggestion=_spread(suggestion, standing, len(rows), -1),
    )


def _simply(judgement: _Judgement) -> Iterator[tuple[str, Array]]:
    """The checks that compare a column with a threshold, each on the rows that still stand when its turn comes."""
    rows, checks = judgement.rows, judgement.checks
    masks: dict[str, Callable[[Array], Array]] = {
        "missing_label": lambda here: simple.missing(rows.label[here] >= 0),
        "missing_caption": lambda here: simple.missing(rows.captioned[here]),
        "name_collision": lambda here: simple.name_collisions(rows.names[here], rows.folded[here]),
        "blank": lambda here: simple.blank(rows.range[here], checks.blank.range),
        "dark": lambda here: simple.dark(rows.brightness[here], checks.dark.level),
        "bright": lambda here: simple.bright(rows.brightness[here], checks.bright.level),
        "low_information": lambda here: simple.low_information(rows.entropy[here], checks.low_information.bits),
        "size_outlier": lambda here: simple.size_outliers(
            rows.width[here], rows.height[here], checks.size_outlier.deviations
        ),
        "aspect_outlier": lambda here: simple.aspect_outliers(
            rows.width[here], rows.height[here], checks.aspect_outlier.deviations
        ),
    }
    for name, mask in masks.items():
        standing = judgement.standing()
        yield name, standing[mask(standing)]


def _spread(values: Array, positions: Array, count: int, filling: float) -> Array:
    """Values of some rows among those of all."""
    everywhere = np.full(count, filling, values.dtype)
    everywhere[positions] = values
    return everywhere


def _equal(digests: Array) -> Array:
    """For each of N digests (uint64, N×4) the first position of an equal one."""
    order = np.lexsort(digests.T)
    ranked = digests[order]
    begins = np.concatenate([[True], (ranked[1:] != ranked[:-1]).any(axis=1)])[: len(order)]
    # lexsort is stable: the first of each run has the least position.
    return _first_of_run(order, begins)


def _chosen(rows: Rows, standing: Array, alike: Array) -> Array:
    """For each standing row the one (a position in `standing`) that stays of those alike.

    The source's own test set comes before its val, and that before the rest: losing the test image would change the
    test set, and keeping the other would train on it. Then come one with a label, one with a caption, the larger image,
    and the first.
    """
    area = rows.width[standing].astype(np.int64) * rows.height[standing]
    unlabelled, plain = rows.label[standing] < 0, ~rows.captioned[standing]
    given = rows.given[standing].astype(np.int64)
    order = np.lexsort((np.arange(len(standing)), -area, plain, unlabelled, -given, alike))
    begins = np.concatenate([[True], alike[order][1:] != alike[order][:-1]])[: len(order)]
    return _first_of_run(order, begins)


def _first_of_run(order: Array, begins: Array) -> Array:
    """For each position the one that comes first in its run, where an order of all is cut into runs."""
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    return first
