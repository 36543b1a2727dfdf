"""Which images the page shows, and what it says of each; the pictures themselves come later, all in one pass."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rediffuse.seeds import hashed_seed
from rediffuse.survey.tables import Tables, marked
from rediffuse.survey.words import percent, printable, shortened

REJECTS_SHOWN = 12
SUSPECTS_SHOWN = 24
EXAMPLES_SHOWN = 10
CLASSES_SHOWN = 20

# These have a section of their own, or nothing to see.
_NOT_SHOWN_WHERE_MARKED = ("duplicate", "near_duplicate", "class_outlier", "label_suspect", "missing_label")


@dataclass(frozen=True, kw_only=True)
class Pick:
    """An image to show.

    Args:
        id: its name in the shards.
        row: its position in examples.npy, or None: only the shards have it.
        captions: a few words below it, a line each.
        detail: what else there is to say.
        words: what stands in its place where it can't be decoded.
        alert: whether the captions tell of something wrong.
    """

    id: str
    row: int | None
    captions: tuple[str, ...]
    detail: str = ""
    words: str = ""
    alert: bool = False


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images under one heading, and a note beside it."""

    heading: str
    note: str = ""
    alert: bool = False
    picks: tuple[Pick, ...]


def rejects(tables: Tables, reason: str) -> list[Gallery]:
    """Some of the images that a reason dropped, set aside or marked, each kind in a row."""
    found = []
    for heading, table in (("dropped", tables.rejected), ("quarantined", tables.quarantined)):
        chosen = table[(table["reason"] == reason).to_numpy(dtype=bool)]
        picks = tuple(
            Pick(
                id=row["id"],
                row=None,
                captions=(tail(row["id"]),),
                detail=", ".join(filter(None, (_labelled(tables, row["label"]), row["detail"]))),
                words=row["detail"],
            )
            for row in _rows(chosen.iloc[drawn(chosen["id"], REJECTS_SHOWN)])
        )
        if picks:
            found.append(Gallery(heading=heading, note=_some(len(picks), len(chosen)), picks=picks))
    rows = np.array([]) if reason in _NOT_SHOWN_WHERE_MARKED else marked(tables.kept["findings"], reason)
    if len(rows):
        shown = rows[drawn(tables.kept["id"].iloc[rows], REJECTS_SHOWN)]
        picks = tuple(
            _kept(tables, row, (tail(tables.kept["id"].iloc[row]),), "kept, as trained") for row in shown.tolist()
        )
        found.append(Gallery(heading="kept and marked", note=_some(len(picks), len(rows)), picks=picks))
    return found


def outliers(tables: Tables) -> Gallery | None:
    """The examples farthest from their class; None where distances were not measured."""
    return _highest(
        tables,
        "class_outlier",
        tables.kept["deviations"],
        lambda row: (f"{row['deviations']:.1f} dev.",),
        lambda row: f"{row['deviations']:.1f} robust standard deviations from its class",
        "farthest",
    )


def suspects(tables: Tables) -> Gallery | None:
    """The examples whose labels are least likely; None where that was not measured."""
    kept = tables.kept
    # The least probable first, as the highest of 1 - p; a label that is its own suggestion, or likelier than not, is
    # no suspect.
    own = (kept["suggestion"] == kept["label"]).fillna(True)
    doubt = (1 - kept["probability"]).mask(own | (kept["probability"] >= 0.5).fillna(True))
    return _highest(
        tables,
        "label_suspect",
        doubt,
        lambda row: (
            percent(row["probability"], 1),
            f"{tables.label(row['label'])} → {tables.label(row['suggestion'])}",
        ),
        lambda row: (
            f"labelled {tables.label(row['label'])}, which has a probability of "
            f"{percent(row['probability'], 1)}; likeliest is {tables.label(row['suggestion'])}"
        ),
        "least likely",
    )


def examples(tables: Tables) -> list[Gallery]:
    """Random training examples, a row a class; the largest and the smallest classes where there are many."""
    kept, classes = tables.kept, tables.card.classes
    train = (kept["split"] == "train").to_numpy(dtype=bool)
    # The pixels' digest is as good as a random number, and there already.
    order = np.argsort(kept["sha256"].str.slice(0, 12).to_numpy(dtype="S12"), kind="stable")
    order = order[train[order]]
    labels = kept["label"].fillna(-1).to_numpy(dtype=np.int64)
    rows = {label: order[labels[order] == label][:EXAMPLES_SHOWN] for label in ends(tables, CLASSES_SHOWN)}
    if not classes:
        rows = {-1: order[: 2 * EXAMPLES_SHOWN]}
    return [
        Gallery(
            heading=printable(classes[label]) if label >= 0 else "",
            picks=tuple(_kept(tables, row, (tail(kept["id"].iloc[row]),)) for row in chosen.tolist()),
        )
        for label, chosen in rows.items()
        if len(chosen)
    ]


def ends(tables: Tables, most: int) -> list[int]:
    """The classes in their order, or of more than `most` the largest and the smallest, largest first."""
    counts = tables.class_counts().sum(axis=1).to_numpy()
    if len(counts) <= most:
        return list(range(len(counts)))
    order = np.argsort(-counts, kind="stable").tolist()
    return [*order[: most // 2], *order[-(most // 2) :]]


def drawn(names: pd.Series, most: int) -> np.ndarray:
    """Positions of at most `most` names, drawn by hash, in their order."""
    if len(names) <= most:
        return np.arange(len(names))
    keys = np.fromiter((hashed_seed(0, f"survey/{name}") for name in names), np.int64, len(names))
    return np.sort(np.argsort(keys, kind="stable")[:most])


def tail(name: str) -> str:
    """The last part of an id, fit for a caption."""
    return shortened(printable(name.rstrip("/").rpartition("/")[2] or name), 24)


def _highest(
    tables: Tables,
    check: str,
    measure: pd.Series,
    captions: Callable[[dict[str, Any]], tuple[str, ...]],
    detail: Callable[[dict[str, Any]], str],
    superlative: str,
) -> Gallery | None:
    values = measure.to_numpy(dtype=np.float64, na_value=-np.inf)
    rows = marked(tables.kept["findings"], check)
    beyond = bool(len(rows))
    # None is beyond the limit: a few show what the next ones would be.
    candidates = rows if beyond else np.flatnonzero(np.isfinite(values))
    if not len(candidates):
        return None
    highest = candidates[np.argsort(-values[candidates], kind="stable")]
    highest = highest[: SUSPECTS_SHOWN if beyond else SUSPECTS_SHOWN // 2]
    picks = tuple(
        _kept(tables, int(row), captions(entry), detail(entry), alert=beyond)
        for row, entry in zip(highest, _rows(tables.kept.iloc[highest]), strict=True)
    )
    if not beyond:
        return Gallery(heading="none is beyond the limit", note=f"the {len(picks)} {superlative}", picks=picks)
    note = f"the {len(picks)} {superlative}" if len(picks) < len(rows) else ""
    return Gallery(heading=f"{len(rows):,} kept and marked", note=note, picks=picks)


def _kept(tables: Tables, row: int, captions: tuple[str, ...], detail: str = "", *, alert: bool = False) -> Pick:
    entry = tables.kept.iloc[row]
    described = ", ".join(filter(None, (_labelled(tables, entry["label"]), str(entry["split"]), detail)))
    return Pick(id=entry["id"], row=row, captions=captions, detail=described, alert=alert)


def _labelled(tables: Tables, label: Any) -> str:
    return tables.label(label) if tables.card.classes else ""


def _some(shown: int, of: int) -> str:
    return f"{of:,}" if shown == of else f"{shown} of {of:,}"


def _rows(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    rows: Iterable[dict[Any, Any]] = table.to_dict("records")
    return iter(rows)
