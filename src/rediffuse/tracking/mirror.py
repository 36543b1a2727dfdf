"""What a stage's files become in MLflow: metrics, curves, pictures, digests.

The files are the truth and the run is their mirror, so whatever a run lacks can be added later from the files alone.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rediffuse import files
from rediffuse.tracking import LAST_STAGE, lineage
from rediffuse.tracking.names import summary_names
from rediffuse.tracking.pipeline import locked_outs, stage_files, upstream
from rediffuse.workspace import Workspace

if TYPE_CHECKING:
    from rediffuse.tracking.run import TrackedRun


def log_outputs_of(run: "TrackedRun", stage: str, *, with_upstream: bool) -> None:
    """Log the files of a stage, and with `with_upstream` those of every stage it depends on.

    Tags `out.<path>` hold the MD5 of each out. dvc.lock has those of earlier stages; the running stage's own entry is
    written when it has ended, so its files are hashed here.
    """
    workspace = run.workspace
    stages = stage_files(workspace)
    earlier = upstream(stage, stages)
    own = stages[stage].outs if stage in stages else ()
    digests = locked_outs(workspace, earlier)
    digests |= {str(path): files.md5(workspace.root / path) for path in own if (workspace.root / path).is_file()}
    run.set_tags({f"out.{path}": digest for path, digest in digests.items()})

    if with_upstream:
        ran = run.entity().data.tags
        run.set_tags({f"stage.{name}": "cached" for name in earlier if f"stage.{name}" not in ran})
        for name in earlier:
            _log_files(run, name)
    _log_files(run, stage)


def _log_files(run: "TrackedRun", stage: str) -> None:
    """Log what one stage wrote."""
    workspace = run.workspace
    model_id = lineage.log_model(run) if stage == LAST_STAGE else None
    if workspace.metrics(stage).exists():
        run.log_summaries(summary_names(stage, files.read_json(workspace.metrics(stage))), model_id)
    if stage == "split":
        lineage.log_data(run)
    if stage == "train":
        for name in ("training", "validation"):
            run.log_curve(_rows(workspace.plot(name)))
    for path, folder in _artifacts(workspace, stage):
        if path.exists():
            run.log_file(path, folder)


def _artifacts(workspace: Workspace, stage: str) -> Iterator[tuple[Path, str]]:
    if stage == "sample":
        yield workspace.grid, "samples"
        yield workspace.film, "samples"
    if stage == "survey":
        yield workspace.data_report, "data"
        for path in sorted(workspace.data_pictures.glob("*.png")):
            yield path, "data"
    if stage == LAST_STAGE:
        yield workspace.report, "reports"
        for path in sorted(workspace.plot("any").parent.glob("*.csv")):
            yield path, "plots"


def _rows(path: Path) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers; an empty cell is no value, and a missing file has no rows."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
