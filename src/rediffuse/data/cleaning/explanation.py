"""One line for a row that is not kept: what exactly was found."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from rediffuse.data import checks
from rediffuse.data.cleaning.rows import Array, Rows
from rediffuse.data.cleaning.verdicts import KEEP, REASONS, Verdicts
from rediffuse.data.manifest import FAULTS
from rediffuse.params import ChecksParams


class Explanation:
    """The details of the rows that go, and the ids of the rows that others refer to: of no more than is needed."""

    def __init__(self, rows: Rows, verdicts: Verdicts, classes: Sequence[str], settings: ChecksParams) -> None:
        self._rows, self._verdicts, self._classes, self._settings = rows, verdicts, classes, settings
        self._own = np.arange(len(rows))
        named = np.unique(
            np.concatenate([of[of != self._own] for of in (verdicts.twin, verdicts.group)]),
        )
        self._ids: dict[int, str] = {}
        self._remarks: dict[int, str] = {}
        faulty = np.flatnonzero((verdicts.action != KEEP) & (rows.fault > 0))
        for number in range(len(rows.shards)):
            here = rows.of_shard(number)
            some = _within(named, here)
            if len(some):
                texts = rows.columns(number, ["id"])["id"].take(pa.array(some - here.start)).to_pylist()
                self._ids |= dict(zip(some.tolist(), texts, strict=True))
            some = _within(faulty, here)
            if len(some):
                texts = rows.remarks(number)["detail"].take(pa.array(some - here.start)).to_pylist()
                self._remarks |= dict(zip(some.tolist(), texts, strict=True))

    def ids(self, wanted: Array, own: Array, own_ids: pa.ChunkedArray) -> list[str]:
        """The ids of the rows at `wanted`; where that is `own`, its id is in `own_ids`."""
        ids: list[str] = own_ids.to_pylist()
        for place in np.flatnonzero(wanted != own).tolist():
            ids[place] = self._ids[int(wanted[place])]
        return ids

    def of(self, position: int) -> str:
        """What was found, in one line."""
        reason = REASONS[self._verdicts.reason[position]]
        if reason in FAULTS:
            return self._remarks[position]
        if reason in ("duplicate", "near_duplicate"):
            return self._repeats(position, "the same pixels as" if reason == "duplicate" else "nearly the same as")
        names = ("range", "brightness", "entropy", "width", "height")
        found = {name: getattr(self._rows, name)[position] for name in names}
        found |= {name: getattr(self._verdicts, name)[position] for name in ("deviations", "probability")}
        if self._classes:
            found["label"] = self._classes[self._rows.label[position]]
            found["suggestion"] = self._classes[self._verdicts.suggestion[position]]
        return checks.detail(reason, self._settings, found)

    def _repeats(self, position: int, how: str) -> str:
        twin = int(self._verdicts.twin[position])
        label, other = (int(self._rows.label[row]) for row in (position, twin))
        text = f"{how} {self._ids[twin]}"
        if label != other and min(label, other) >= 0:
            text += f", but labelled {self._classes[label]} and not {self._classes[other]}"
        return text


def _within(positions: Array, here: slice) -> Array:
    return positions[np.searchsorted(positions, here.start) : np.searchsorted(positions, here.stop)]
