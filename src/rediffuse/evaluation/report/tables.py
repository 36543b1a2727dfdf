"""The report's tables of numbers: image sets by score, extractors by score, and everything by class."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rediffuse.evaluation.report.names import (
    CONTROLS,
    GENERATED,
    HALF,
    REAL_TEST,
    Score,
    by_count,
    interval,
    points,
    printable,
    scores_in,
    share,
)
from rediffuse.evaluation.report.readings import GOOD, standing
from rediffuse.pages import number


@dataclass(frozen=True)
class Cell:
    """A number as text, its interval as text, and whether it is as good as real; None: not judged."""

    value: str
    interval: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Table:
    """Headings, of the rows' names first, and rows: a name and its cells."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


EMPTY = Cell("")
HALF_ROW = "half of train, against the other half"


def controls_table(fidelity: dict[str, float], controls: Mapping[str, Mapping[str, float]] | None) -> Table | None:
    """A row for each set of images, the generated ones first, a column for each score; None without controls.

    Half of the training images come last: they are no point on the scale of the others.
    """
    if not controls:
        return None
    scores = scores_in(fidelity)
    sets: dict[str, Mapping[str, float]] = {
        GENERATED: fidelity,
        REAL_TEST: {score.key: fidelity[f"{score.key}_floor"] for score in scores},
        **{
            short + (f" (of {controls[name]['images']:.0f})" if "images" in controls[name] else ""): controls[name]
            for name, (short, _) in CONTROLS.items()
            if name in controls
        },
        **({HALF_ROW: controls[HALF]} if HALF in controls else {}),
    }
    return Table(
        ("images", *(score.short for score in scores)),
        tuple(
            (name, tuple(Cell(score.written(found[score.key])) if score.key in found else EMPTY for score in scores))
            for name, found in sets.items()
        ),
    )


def extractors_table(first: str, fidelity: dict[str, float], others: Mapping[str, Any] | None) -> Table | None:
    """A row a score: generated and real test images by each extractor, the main one first; None where there is one."""
    if not others:
        return None
    everyone = {first: fidelity, **others}
    rows = []
    for score in scores_in(fidelity):
        cells = [cell for found in everyone.values() for cell in _pair(found, score)]
        rows.append((score.title, tuple(cells)))
    headings = (f"{name}: {images}" for name in everyone for images in (GENERATED, REAL_TEST))
    return Table(("score", *headings), tuple(rows))


def _pair(found: Mapping[str, float], score: Score) -> tuple[Cell, Cell]:
    """What generated and real test images get, by one extractor."""
    if score.key not in found:
        return EMPTY, EMPTY
    floor = f"{score.key}_floor"
    known = dict(found)
    good = GOOD[standing(known, score.key, lower=score.lower)]
    return (
        Cell(score.written(found[score.key]), interval(known, score.key, score.written), good),
        Cell(score.written(found[floor]), interval(known, floor, score.written)),
    )


def gain_table(utility: Mapping[str, Any] | None) -> Table | None:
    """A row a number of real images: accuracy without and with generated ones, and the gain in points."""
    if not utility or not utility.get("augmentation"):
        return None
    rows = []
    for count in by_count(utility["augmentation"]):
        found = utility["augmentation"][count]
        low, high = found["gain_low"], found["gain_high"]
        good = None if low <= 0 <= high else bool(low > 0)
        alone, added = (Cell(share(found[key]), interval(found, key, share)) for key in ("real_accuracy", "accuracy"))
        rows.append((count, (alone, added, Cell(points(found["gain"]), interval(found, "gain", points), good))))
    return Table(("real images", "alone", "with generated ones", "points gained"), tuple(rows))


def class_table(fidelity: Mapping[str, Any], utility: Mapping[str, Any] | None, classes: Sequence[str]) -> Table | None:
    """A row a class: images, FD and recall beside those of real images, shares of the labels, and CAS; None without."""
    if not classes or not (utility or "by_class" in fidelity):
        return None
    rows = {name: _class_cells(name, fidelity, utility or {}) for name in classes}
    headings = dict.fromkeys(heading for cells in rows.values() for heading in cells)
    return Table(
        ("class", *headings),
        tuple(
            (printable(name), tuple(cells.get(heading, EMPTY) for heading in headings)) for name, cells in rows.items()
        ),
    )


def _class_cells(name: str, fidelity: Mapping[str, Any], utility: Mapping[str, Any]) -> dict[str, Cell]:
    """What is known of one class, by column."""
    cells: dict[str, Cell] = {}
    if "by_class" in fidelity:
        found = fidelity["by_class"].get(name, {})
        cells |= {
            "images": _count(found),
            "FD": _of_class(found, "fd", number, lower=True),
            "FD, real": _floor(found, "fd", number),
            "recall": _of_class(found, "recall", share, lower=False),
            "recall, real": _floor(found, "recall", share),
        }
    if "labels" in fidelity:
        shares = fidelity["labels"]["by_class"].get(name, {})
        cells |= {f"share {kind}": _number(shares.get(kind), number) for kind in ("asked", "seen", "real")}
    if utility:
        cells["GAN-test"] = _number(utility["gan_test_recall"].get(name))
        scores = utility["per_class"][name]
        cells |= {f"CAS {kind}": _number(scores[kind.lower()]) for kind in ("precision", "recall", "F1")}
    return cells


def _of_class(found: dict[str, float], name: str, written: Callable[[float], str], *, lower: bool) -> Cell:
    if name not in found:
        return Cell("too few" if name == "fd" else "")
    good = False if standing(found, name, lower=lower) == "worse" else None
    return Cell(written(found[name]), interval(found, name, written), good)


def _floor(found: dict[str, float], name: str, written: Callable[[float], str]) -> Cell:
    floor = f"{name}_floor"
    return Cell(written(found[floor]), interval(found, floor, written)) if floor in found else EMPTY


def _count(found: dict[str, float]) -> Cell:
    return Cell(f"{found['images']:.0f}") if "images" in found else EMPTY


def _number(value: float | None, written: Callable[[float], str] = share) -> Cell:
    return EMPTY if value is None else Cell(written(value))
