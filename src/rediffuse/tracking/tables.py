"""What a stage wrote as MLflow's tables: artifacts that its pages show as tables, and compare row by row over runs.

`MlflowClient.log_table` adds its rows to those of a table that is there; a table here is written whole, as that would
write a new one: {"columns": [...], "data": [[...], ...]}. The first column names the row, alike in every run, so that
"group by" it and "compare" any other sets runs side by side.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rediffuse.params import flatten
from rediffuse.score_names import floor_of

_BY_CLASS = ("by_class", "per_class", "gan_test_recall")
_SCORED = ("fidelity", "utility", "memorisation", "likelihood")
# What stands beside a score under a name of its own is a column of its row.
_BESIDE = ("_low", "_high", "_floor", "_floor_low", "_floor_high", "_baseline")


@dataclass(frozen=True)
class Table:
    """Rows of texts, numbers, None, and pictures as `picture` gives them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def encode(self) -> bytes:
        """The artifact's JSON; what is no finite number is null."""
        rows = [[_plain(cell) for cell in row] for row in self.rows]
        return json.dumps({"columns": list(self.columns), "data": rows}, ensure_ascii=False, allow_nan=False).encode()


def score_tables(metrics: Mapping[str, Any]) -> dict[str, Table]:
    """Name -> table of what metrics/evaluate.json holds; without what it does not."""
    tables = {
        "scores": scores(metrics),
        "by_class": by_class(metrics),
        "controls": controls(metrics),
        "verdicts": verdicts(metrics),
    }
    return {name: table for name, table in tables.items() if table.rows}


def scores(metrics: Mapping[str, Any]) -> Table:
    """A row a score: its interval, what real images get, and the extractor and number of images it was taken with."""
    blocks = {name: (name, metrics.get(name)) for name in _SCORED}
    blocks |= {f"by_extractor.{name}": (name, block) for name, block in (metrics.get("by_extractor") or {}).items()}
    rows = []
    for prefix, (measured, block) in blocks.items():
        how = (metrics.get("protocol") or {}).get(measured)
        how = how if isinstance(how, Mapping) else {}
        numbers = {
            name: value
            for name, value in flatten(block or {}).items()
            if _is_number(value) and not set(name.split(".")) & set(_BY_CLASS)
        }
        for name, value in numbers.items():
            if any(name.endswith(end) and name.removesuffix(end) in numbers for end in _BESIDE):
                continue
            low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
            floor = numbers.get(floor_of(f"{prefix}.{name}").removeprefix(f"{prefix}."))
            # What classifiers are trained on are pairs of an image and a label.
            of = "pairs" if prefix == "utility" and not name.startswith("gan_test") else "images"
            rows.append([f"{prefix}.{name}", value, low, high, floor, how.get("extractor"), how.get(of)])
    return Table(("score", "value", "low", "high", "floor", "extractor", "n"), rows)


def by_class(metrics: Mapping[str, Any]) -> Table:
    """A row a class: everything that is known of it alone."""
    fidelity, utility = metrics.get("fidelity") or {}, metrics.get("utility") or {}
    found: dict[str, dict[str, Any]] = {}
    for prefix, blocks in (
        ("", fidelity.get("by_class")),
        ("", (fidelity.get("labels") or {}).get("by_class")),
        ("gan_test_", {name: {"recall": recall} for name, recall in (utility.get("gan_test_recall") or {}).items()}),
        ("cas_", utility.get("per_class")),
    ):
        for name, numbers in (blocks or {}).items():
            found.setdefault(name, {}).update({f"{prefix}{key}": value for key, value in numbers.items()})
    return _table("class", found)


def controls(metrics: Mapping[str, Any]) -> Table:
    """A row for the generated images, one for real ones, and one for each that is known to be good or bad."""
    known = metrics.get("controls") or {}
    fidelity = metrics.get("fidelity") or {}
    named = list(dict.fromkeys(score for numbers in known.values() for score in numbers))
    rows = {
        "generated": {score: fidelity.get(score) for score in named},
        "real": {score: fidelity.get(f"{score}_floor") for score in named},
    }
    return _table("images", {**rows, **known} if known else {})


def verdicts(metrics: Mapping[str, Any]) -> Table:
    """A row a condition, or an aspect without one."""
    rows = []
    for aspect, judged in (metrics.get("verdicts") or {}).items():
        for condition in judged.get("conditions") or [{}]:
            rule = condition.get("rule")
            name = aspect if rule is None else f"{aspect}: {rule}"
            rows.append([name, aspect, judged["verdict"], rule, condition.get("found"), condition.get("met")])
    return Table(("condition", "aspect", "verdict", "rule", "found", "met"), rows)


def confusion(path: Path) -> Table:
    """Of plots/confusion.csv (a row an image: actual, predicted) a row a class: as which others it was taken."""
    with path.open(newline="", encoding="utf-8") as file:
        pairs = Counter((row["actual"], row["predicted"]) for row in csv.DictReader(file))
    named = list(dict.fromkeys(name for pair in pairs for name in pair))
    return Table(("actual", *named), [[actual, *(pairs[actual, other] for other in named)] for actual in named])


def of_csv(path: Path) -> Table:
    """A CSV file as it is."""
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = [*csv.reader(file)] or [[]]
    return Table(columns, [[_read(cell) for cell in row] for row in rows])


def pictures(artifacts: Sequence[str]) -> Table:
    """A row a picture of the run, by its artifact path, so that runs show them side by side."""
    return Table(("figure", "picture"), [[Path(path).stem, picture(path)] for path in artifacts])


def picture(artifact: str) -> dict[str, str]:
    """A cell that shows an artifact of the run."""
    return {"type": "image", "filepath": artifact, "compressed_filepath": artifact}


def _table(first: str, found: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for numbers in found.values() for key in numbers))
    return Table((first, *columns), [[name, *map(numbers.get, columns)] for name, numbers in found.items()])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(cell: Any) -> Any:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _read(cell: str) -> Any:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell
