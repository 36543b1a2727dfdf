"""The groups as text, as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rediffuse.leaderboard.ranking import Group, Row
from rediffuse.leaderboard.runs import Run

_DIGITS = 8  # of a digest, beside a text
_ALWAYS = ("data", "extractor", "digest", "images")
_MADE_BY = ("preset", "network", "parameters")
_OVERLAPS, _UNKNOWN = "≈", "?"


@dataclass(frozen=True)
class Columns:
    """What stands in a row beside its score.

    Args:
        metric: the score that the rows are ranked by.
        more: parameters and other scores, by dotted name.
        status: whether a run is finished.
    """

    metric: str
    more: Sequence[str]
    status: bool


def text(groups: Sequence[Group], columns: Columns) -> str:
    """Columns of text, a table a group."""
    lines: list[str] = []
    for group in groups:
        headings, rows = _cells(group, columns)
        table = [headings, *rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
        numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(headings))]
        lines += ["", heading(group, groups)]
        for row in table:
            cells = zip(row, widths, numeric, strict=True)
            lines.append("  ".join(f"{cell:>{width}}" if right else f"{cell:{width}}" for cell, width, right in cells))
            lines[-1] = lines[-1].rstrip()
    return "\n".join([*lines, "", *_legend(groups)]).rstrip()


def markdown(groups: Sequence[Group], columns: Columns) -> str:
    """A table a group, as Markdown."""
    lines: list[str] = []
    for group in groups:
        headings, rows = _cells(group, columns)
        numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(headings))]
        rule = ["---:" if right else "---" for right in numeric]
        lines += [f"### {heading(group, groups)}", ""]
        lines += [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in (headings, rule, *rows)]
        lines += [""]
    return "\n\n".join(["\n".join(lines).rstrip(), *_legend(groups)])


def csv_bytes(groups: Sequence[Group], columns: Columns) -> bytes:
    """All groups in one table with every digit; a cell is empty where a run has no such number."""
    metric = columns.metric
    names = ["group", "protocol", *_ALWAYS, "rank", "overlaps_best", "run", "run_id", "status", *_MADE_BY]
    names += [metric, *(f"{metric}_{end}" for end in ("low", "high", "floor")), *columns.more]
    names += ["evaluations", "key", "commit", "started"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for number, group in enumerate(groups, 1):
        how = [number, "known" if group.known else "unknown", *(group.measured.get(name) for name in _ALWAYS)]
        for row in group.rows:
            run, score = row.run, row.score
            overlaps = None if row.overlaps is None else str(row.overlaps).lower()
            cells: list[Any] = [*how, row.rank, overlaps, run.name, run.run_id, run.status, *_made_by(run).values()]
            cells += [score.value, score.low, score.high, score.floor, *(_value(run, name) for name in columns.more)]
            cells += [run.numbers.get("sample.evaluations"), run.key, run.commit, f"{_when(run, 'T', 'seconds')}Z"]
            writer.writerow([_raw(cell) for cell in cells])
    return file.getvalue().encode()


def heading(group: Group, groups: Sequence[Group]) -> str:
    """How the scores of a group were taken: data, extractor, n, and in what else it differs from another group."""
    measured = dict(group.measured)
    data, _, digest = measured.pop("data").partition(" ")
    words = [f"data {data} {digest[:_DIGITS]}".rstrip()]
    if not group.known:
        return f"protocol unknown, {words[0]}"
    if "extractor" in measured:
        words.append(f"extractor {measured['extractor']} {measured.get('digest', '')[:_DIGITS]}".rstrip())
    if "images" in measured:
        words.append(f"n = {measured['images']}")
    others = [other.measured for other in groups if other.known]
    for key, value in measured.items():
        if key not in _ALWAYS and any(other.get(key) != value for other in others):
            words.append(f"{key} {value}")
    # The part after the first digits may be all that differs: the split's.
    same = [other for other in groups if other.known and other is not group and _short(other) == _short(group)]
    if any(other.measured["data"] != group.measured["data"] for other in same):
        words[0] = f"data {data} {digest}"
    return ", ".join(words)


def _short(group: Group) -> str:
    name, _, digest = group.measured["data"].partition(" ")
    return f"{name} {digest[:_DIGITS]}"


def _cells(group: Group, columns: Columns) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; a column that is empty for the whole group is left out."""
    rows, runs = group.rows, [row.run for row in group.rows]
    made_by = [_made_by(run) for run in runs]
    short = _shortened([columns.metric, *columns.more])
    found = [
        ("#", [str(row.rank) for row in rows]),
        (_OVERLAPS, [_mark(row) for row in rows]),
        ("run", [run.name for run in runs]),
        ("status", [run.status.lower() if columns.status else "" for run in runs]),
        *((name, [_written(made[name]) for made in made_by]) for name in _MADE_BY),
        (short[columns.metric], [_written(row.score.value) for row in rows]),
        ("95 % interval", [_interval(row) for row in rows]),
        ("floor", [_written(row.score.floor) for row in rows]),
        *((short[name], [_written(_value(run, name)) for run in runs]) for name in columns.more),
        ("evaluations", [_written(run.numbers.get("sample.evaluations")) for run in runs]),
        ("key", [run.key[:_DIGITS] for run in runs]),
        ("when (UTC)", [_when(run, " ", "minutes") for run in runs]),
    ]
    shown = [(name, cells) for name, cells in found if any(cells)]
    return [name for name, _ in shown], [list(row) for row in zip(*(cells for _, cells in shown), strict=True)]


def _shortened(names: Sequence[str]) -> dict[str, str]:
    """Name -> its last part, where no other ends alike and no number (a class, a scale) stands before it."""
    last = {name: name.rpartition(".")[2] for name in names}
    plain = [name for name in names if name.count(".") == 1 and list(last.values()).count(last[name]) == 1]
    return {name: last[name] if name in plain else name for name in names}


def _mark(row: Row) -> str:
    if row.overlaps is None:
        return "" if row.rank == 1 else _UNKNOWN
    return _OVERLAPS if row.overlaps else ""


def _interval(row: Row) -> str:
    low, high = row.score.low, row.score.high
    return "" if low is None or high is None else f"[{low:.4g}, {high:.4g}]"


def _legend(groups: Sequence[Group]) -> list[str]:
    marks = {_mark(row) for group in groups for row in group.rows}
    lines = []
    if _OVERLAPS in marks:
        lines.append(f"{_OVERLAPS}  the interval overlaps that of the best of its group: no difference is shown")
    if _UNKNOWN in marks:
        lines.append(f"{_UNKNOWN}  without an interval nobody knows whether it differs from the best of its group")
    if len(groups) > 1:
        lines.append(f"{len(groups)} groups: their scores were taken from other data or otherwise; compare within one")
    return lines


def _made_by(run: Run) -> dict[str, float | str | None]:
    found = (run.params.get("diffusion.preset"), run.params.get("model.name"), run.numbers.get("train.parameters"))
    return dict(zip(_MADE_BY, found, strict=True))


def _value(run: Run, name: str) -> float | str | None:
    return run.params[name] if name in run.params else run.numbers.get(name)


def _written(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.4g}"


def _raw(cell: Any) -> str:
    """Every digit of a number, and no more."""
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell.is_integer() else repr(cell)
    return "" if cell is None else str(cell)


def _when(run: Run, between: str, to: str) -> str:
    started = datetime.fromtimestamp(run.started / 1000, UTC).replace(tzinfo=None)
    return started.isoformat(between, to)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
