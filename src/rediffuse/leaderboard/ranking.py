"""Runs ranked by a score, each only among those that were measured as it was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rediffuse.leaderboard.names import LOWER, SCORED
from rediffuse.leaderboard.runs import Run
from rediffuse.score_names import floor_of
from rediffuse.score_protocol import deciding, measured_by


@dataclass(frozen=True)
class Score:
    """A value, its 95 % interval where it has one, and what real images (or a baseline) get."""

    value: float
    low: float | None
    high: float | None
    floor: float | None

    def overlaps(self, other: "Score") -> bool | None:
        """Whether the two intervals share a value; None where one of them is not known."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return None
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Row:
    """A run in its group.

    Args:
        rank: from 1, the best.
        overlaps: whether its interval overlaps that of the best one; None for the best one, and where nobody knows.
    """

    rank: int
    run: Run
    score: Score
    overlaps: bool | None


@dataclass(frozen=True)
class Group:
    """Runs whose scores may be compared, best first.

    Args:
        measured: how, by name: `data`, then what the protocol holds; of runs without a protocol `data` alone.
        known: whether the protocol is.
    """

    measured: dict[str, str]
    known: bool
    rows: Sequence[Row]


def ranked(runs: Sequence[Run], metric: str, better: str) -> list[Group]:
    """The runs that have the score, in groups: the largest first, those of an unknown protocol last."""
    groups: dict[tuple[bool, tuple[tuple[str, str], ...]], list[Run]] = {}
    for run in runs:
        if has(run, metric):
            measured, known = measured_as(run, metric)
            groups.setdefault((known, tuple(measured.items())), []).append(run)
    made = [
        Group(dict(measured), known, _rows(members, metric, better)) for (known, measured), members in groups.items()
    ]
    return sorted(made, key=lambda group: (not group.known, -len(group.rows), *group.measured.values()))


def has(run: Run, metric: str) -> bool:
    """Whether a run has a value of this score that can be ranked."""
    return not math.isnan(run.numbers.get(metric, math.nan))


def measured_as(run: Run, metric: str) -> tuple[dict[str, str], bool]:
    """On which data and how a run's score was taken, as far as it decides the number; and whether the how is known."""
    name, digest = run.data
    data = {"data": f"{name} {digest}" if digest else "unknown"}
    first, _, rest = metric.partition(".")
    if first not in SCORED or not rest:
        return data, True
    block = measured_by(first, _extractor(run, rest))
    noted = {
        key.removeprefix(f"{block}.").removeprefix(block) or block: text
        for key, text in run.protocol.items()
        if key == block or key.startswith(f"{block}.")
    }
    return (data | deciding(noted, metric), True) if noted else (data, False)


def score_of(run: Run, metric: str) -> Score:
    """A run's score, with what stands beside it under the same name."""

    def beside(name: str) -> float | None:
        return run.numbers[name] if has(run, name) else None

    return Score(run.numbers[metric], beside(f"{metric}_low"), beside(f"{metric}_high"), beside(floor_of(metric)))


def _rows(runs: Sequence[Run], metric: str, better: str) -> list[Row]:
    sign = 1 if better == LOWER else -1
    # Equal ones in the order in which they were made, which never changes.
    order = sorted(runs, key=lambda run: (sign * run.numbers[metric], run.started, run.run_id))
    best = score_of(order[0], metric)
    scores = [score_of(run, metric) for run in order]
    return [
        Row(place + 1, run, score, score.overlaps(best) if place else None)
        for place, (run, score) in enumerate(zip(order, scores, strict=True))
    ]


def _extractor(run: Run, rest: str) -> str:
    """The extractor that a score begins with; a name may hold dots."""
    known = {key.rpartition(".")[0] for key in run.protocol}
    return max((name for name in known if rest.startswith(f"{name}.")), key=len, default=rest)
