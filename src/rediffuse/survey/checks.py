"""What the split's checks say, in plain words: metrics/split.json and the tables beside it."""

from collections.abc import Iterator, Mapping
from typing import Any

from rediffuse.data.manifest import OVERLAP
from rediffuse.pages import Reading, number
from rediffuse.params.data import LimitsParams
from rediffuse.survey.groups import Groups
from rediffuse.survey.tables import Tables
from rediffuse.survey.words import counted, percent


def read_checks(tables: Tables, groups: Groups, metrics: Mapping[str, Any], limits: LimitsParams) -> list[Reading]:
    """A row for each check, also for those that only the tables can answer.

    Args:
        metrics: the content of metrics/split.json; a measure it does not have has no row.
        limits: `split.limits`; what exceeds its limit is bad, and what has none is neither good nor bad.
    """
    rows = [
        Reading(
            "Groups on two sides",
            f"{groups.straddling:,}",
            "≤ 0",
            "No duplicate or near duplicate of a training image is in val or test."
            if not groups.straddling
            else "Duplicates of one image stand in different splits: scores on them are too good.",
            not groups.straddling,
        )
    ]
    if tables.splits.get(OVERLAP):
        count = tables.splits[OVERLAP]
        rows.append(
            Reading(
                "Overlap",
                f"{count:,}",
                "",
                f"{counted(count, 'image')} of the source's own train or val ({percent(count, len(tables.kept))}) "
                f"{'repeats' if count == 1 else 'repeat'} one of its test (or val) set; nothing uses them.",
                None,
            )
        )
    if tables.card.classes and "greatest_deviation" in metrics:
        deviation = metrics["greatest_deviation"]
        rows.append(
            Reading(
                "Class shares",
                f"{100 * deviation:.2g} points",
                _limit(limits.class_deviation and 100 * limits.class_deviation, "{:g} points"),
                "The farthest that a class's share in a split is from its share in all.",
                _within(deviation, limits.class_deviation),
            )
        )
    for split in ("val", "test"):
        rows += _against_train(split, metrics.get(split) or {}, limits)
    return rows


def _against_train(split: str, measured: Mapping[str, Any], limits: LimitsParams) -> Iterator[Reading]:
    """What tells a split from train; a measure that is missing, or None for too few images, has no row."""
    if distances := measured.get("ks"):
        yield Reading(
            f"Brightness and entropy, train and {split}",
            ", ".join(map(number, distances.values())),
            _limit(limits.ks, "{:g}"),
            "Kolmogorov-Smirnov distance: the greatest gap between the two distributions, 0 where they are one and 1 "
            "where they don't meet.",
            _within(max(distances.values()), limits.ks),
        )
    if auc := measured.get("auc"):
        if auc["low"] > 0.5:
            words = "A classifier tells the two apart better than by chance (0.5): they are not quite alike."
        else:
            words = "A classifier can't tell the two apart better than by chance (0.5)."
        yield Reading(
            f"Told apart, train and {split}",
            f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
            _limit(limits.auc, "{:g}"),
            f"{words} This is its AUC, with a 95 % interval.",
            _within(auc["low"], limits.auc),
        )
    if (floor := measured.get("fd_floor")) is not None:
        within = measured.get("fd_train_halves")
        yield Reading(
            f"Fréchet distance, train and {split}",
            number(floor),
            "",
            "Between two finite sets of one kind it is not 0"
            + (f": within train, at the same size, it is {number(within)}." if within is not None else "."),
            None,
        )


def _limit(limit: float | None, written: str) -> str:
    return "" if limit is None else f"≤ {written.format(limit)}"


def _within(value: float, limit: float | None) -> bool | None:
    return None if limit is None else value <= limit
