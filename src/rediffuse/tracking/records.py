"""What a stage tells of itself, one record at a time, as lines of JSON.

A record holds all that MLflow needs to be told later by another process: no path of the workspace, and the wall-clock
time at which it was told.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rediffuse.tracking import Candidate


@dataclass(frozen=True, kw_only=True)
class Begin:
    """A stage begins.

    Args:
        key: the content key of the run it belongs to.
        name: of the run, if it is a new one.
        experiment: DVC's name of the experiment; it renames the run.
        params: name -> value as text; logged unless the run has them.
        tags: in place of earlier ones.
    """

    key: str
    name: str
    experiment: str | None
    params: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points (metric, step, value) of curves; a step that its curve already has is skipped.

    Args:
        repeatable: another process would compute the same, so another value of a step is worth a warning.
    """

    points: list[tuple[str, int, float]]
    repeatable: bool = True


@dataclass(frozen=True, kw_only=True)
class Summaries:
    """Metrics that have one value a run; one that has changed since becomes its metric's next step.

    Args:
        model: MD5 of the weights that the numbers belong to as well.
    """

    values: dict[str, float]
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file of the journal that becomes the artifact `<folder>/<its name>`, in place of an earlier one.

    Args:
        table: MLflow shows it as a table; see `tables`.
    """

    folder: str
    file: str
    table: bool = False


@dataclass(frozen=True, kw_only=True)
class Tags:
    """Tags, in place of earlier ones or, with `default`, only where the run has none of the name."""

    values: dict[str, str]
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data set whose splits are inputs of the run.

    Args:
        source: `digits`, say; the inputs are `digits-train`, `digits-val` and `digits-test`.
        digest: changes with the examples or the split.
        files: name -> path, relative to the root.
        card: what is known of the data.
    """

    source: str
    digest: str
    files: dict[str, str]
    card: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights that the run's LoggedModel stands for."""

    path: str
    md5: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Registration(Candidate):
    """A model that becomes a version in the registry, and its champion where it beats the present one.

    Args:
        md5, sha256: of the weights that the training left.
        file: the model's folder in the journal.
        The others: see `rediffuse.tracking.Candidate`.
    """

    md5: str
    sha256: str
    file: str


@dataclass(frozen=True, kw_only=True)
class End:
    """The run has FAILED, or FINISHED after the last stage; a stage in between just stops telling."""

    status: str
    tags: dict[str, str] = field(default_factory=dict)


Record = Begin | Points | Summaries | Artifact | Tags | Data | Weights | Registration | End
_KINDS: dict[str, type[Record]] = {
    kind.__name__.lower(): kind for kind in (Begin, Points, Summaries, Artifact, Tags, Data, Weights, Registration, End)
}


class Told(NamedTuple):
    """A record and when it was told, in milliseconds since 1970."""

    at: int
    record: Record


def encode(told: Told) -> bytes:
    """One line of JSON; it keeps NaN and infinities, as Python's JSON does."""
    kind = type(told.record).__name__.lower()
    return json.dumps({"at": told.at, "kind": kind, **dataclasses.asdict(told.record)}).encode() + b"\n"


def decode(line: bytes) -> Told | None:
    """The record of a line; None where it is torn, or written by code that knew other kinds."""
    try:
        fields = json.loads(line)
        return Told(fields.pop("at"), _KINDS[fields.pop("kind")](**fields))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
