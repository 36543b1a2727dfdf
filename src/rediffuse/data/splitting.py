"""Splits in which no duplicate group straddles two parts: what the source gives is kept, the rest is cut.

Given parts. An image that the source gives as test or val stays what it is. A group with members in several given parts
keeps those in the most protected one (test, then val, then train); its other members become an overlap that nothing
uses, so that a copy of a test image is never trained on and the test set is the source's own to the last image. What
the source does not give is cut from what it gives as train, or does not place.

Two ways to cut, both blind to the order of the rows:
- stratified: groups take their turns in the order of the least hash of (seed, id) among their members and fill each
  class's quotas. The shares are exact, but more data may move any image.
- hash: u is a hash of (seed, sha256 of an image's pixels) in [0, 1), and a group's is its members' least. Test is
  u < test_share, val the next val_share, train the rest (where the source gives one of them, the other's stretch begins
  at 0). More data can only lower a group's u: a test image stays one, also under another name, when its group gains
  members or when two groups become one. A val image may become test, a train image either; and where the source comes
  to give a copy of an image as val or test, nothing uses that image any more. All this holds only while the group loses
  no member. Where the one with the least hash goes, the others' u is higher and they may leave test for val or train:
  a new, larger copy may take its place (near_duplicate: drop), or a check whose verdict depends on the other data may
  take it out. Shares are approximate, and a group of k images is in test with probability 1 - (1 - test_share)^k.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from rediffuse.data.manifest import OVERLAP, SPLITS
from rediffuse.data.stratified import Integers, stratify
from rediffuse.errors import UserError
from rediffuse.seeds import hashed_seed

PLACES = (*SPLITS, OVERLAP)
"""Where an example may be; a place is stored as its position here."""

TRAIN, VAL, TEST, UNUSED = range(len(PLACES))

_BLOCK = 65536


def assign(
    manifest: pd.DataFrame,
    classes: Sequence[str],
    *,
    method: Literal["stratified", "hash"],
    val_share: float,
    test_share: float,
    seed: int,
) -> Integers:
    """The place of each of N examples, (N,): positions in PLACES.

    Args:
        manifest: the columns id (sha256 for the hash), group, label and given_split; N rows.
        classes: class names, position = label.
        method: how the parts are cut that the source does not give.
        val_share: of the images that it does not give as test, above 0, at most 0.4; unused where it gives val.
        test_share: likewise.
        seed: the experiment's.

    Raises:
        UserError: a class can't be in train and in every part that is cut, or nothing is left of a given part; the
            message has the counts.
    """
    labels = manifest["label"].fillna(-1).to_numpy(np.int64)
    given = given_places(manifest)
    codes, groups = pd.factorize(manifest["group"])
    # Test comes first, so that its stretch of hashes begins at 0.
    shares = {part: share for part, share in ((TEST, test_share), (VAL, val_share)) if part not in given}

    protection = np.zeros(len(groups), np.int64)
    np.maximum.at(protection, codes, given)  # TRAIN < VAL < TEST
    places = np.where(given == protection[codes], given, UNUSED)
    free = np.flatnonzero(protection[codes] == TRAIN)
    if method == "hash":
        lowest = _lowest(hashes(manifest["sha256"].array[free], seed), codes[free], len(groups))
        places[free] = _below(lowest[codes[free]] / 2**63, shares)
    else:
        turns = _turns(hashes(manifest["id"].array[free], seed), codes[free])
        places[free] = stratify(turns, labels[free], shares, TRAIN)
    _check_given(places, given)
    _check_classes(places, labels, codes, classes, (TRAIN, *shares), method)
    return places


def given_places(manifest: pd.DataFrame) -> Integers:
    """The source's own part of each example, (N,); train where it does not say."""
    positions = pd.Categorical(manifest["given_split"], categories=list(SPLITS)).codes  # -1: missing
    return np.asarray(np.maximum(positions, TRAIN), np.int64)


def hashes(names: ExtensionArray, seed: int, stream: str = "split") -> Integers:
    """A 63-bit hash of each name with the seed, (N,)."""
    # A column makes all of its strings at once when it is iterated over.
    blocks = (names[i : i + _BLOCK] for i in range(0, len(names), _BLOCK))
    numbers = (hashed_seed(seed, f"{stream}/{name}") for block in blocks for name in block)
    return np.fromiter(numbers, np.int64, len(names))


def _turns(numbers: Integers, codes: Integers) -> Integers:
    """The turn of each row's group, (N,), among the groups that `codes` holds: the order of their least hashes.

    A group's name is no part of it: that is its first member's, and another in another order of the rows.
    """
    present, dense = np.unique(codes, return_inverse=True)
    turns = np.empty(len(present), np.int64)
    turns[np.argsort(_lowest(numbers, dense, len(present)), kind="stable")] = np.arange(len(present))
    return turns[dense]


def _lowest(numbers: Integers, codes: Integers, groups: int) -> Integers:
    """The least hash among each group's members, (groups,); the greatest integer where `codes` does not hold it."""
    lowest = np.full(groups, np.iinfo(np.int64).max)
    np.minimum.at(lowest, codes, numbers)
    return lowest


def _below(values: NDArray[np.float64], shares: Mapping[int, float]) -> Integers:
    """The part whose stretch of [0, 1) holds each value: the shares one after the other, then train."""
    stretches = np.searchsorted(list(accumulate(shares.values())), values, side="right")
    return np.array([*shares, TRAIN])[stretches]


def _check_given(places: Integers, given: Integers) -> None:
    for part in (VAL, TEST):
        count = int((given == part).sum())
        if count and not (places == part).any():
            raise UserError(
                f"the source's own {PLACES[part]} set is empty: each of its {count} images repeats one of its test set"
            )


def _check_classes(
    places: Integers, labels: Integers, codes: Integers, classes: Sequence[str], parts: Sequence[int], method: str
) -> None:
    """Refuse a split without some class in one of `parts`; unlabelled images count where there are no others."""
    names, kinds = np.unique(labels, return_inverse=True)
    held = np.bincount(places * len(names) + kinds, minlength=len(PLACES) * len(names)).reshape(len(PLACES), -1)
    for kind, label in enumerate(names.tolist()):
        found = {PLACES[part]: int(held[part, kind]) for part in parts}
        if all(found.values()) or (label < 0 and len(names) > 1):
            continue
        name = f"the class {classes[label]!r}" if label >= 0 else "the data set"
        distinct = len(np.unique(codes[(kinds == kind) & np.isin(places, parts)]))
        if method == "hash" and distinct >= len(parts):
            counts = ", ".join(f"{count} in {part}" for part, count in found.items())
            raise UserError(
                f"params.yaml: split.method hash leaves {name} out of a part ({counts}); larger shares make that less "
                "likely, and the method stratified gives each part at least one"
            )
        repeated = int(held[UNUSED, kind])
        aside = f"; {repeated} more only repeat images of the source's own test or val set" if repeated else ""
        raise UserError(
            f"{name} has too few images to divide over {', '.join(found)}: {sum(found.values())}, of which {distinct} "
            f"are no duplicates of each other; each part needs at least one{aside}"
        )
