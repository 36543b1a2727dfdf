"""What a stage's files become in MLflow: metrics, curves, pictures, digests.

The files are the truth and the run is their mirror, so whatever a run lacks can be added later from the files alone.
Later is too late for a file that the next experiment overwrites: what is told here holds copies, not paths.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rediffuse import files
from rediffuse.provenance.digests import file_md5
from rediffuse.provenance.environment import environment_tags
from rediffuse.provenance.pipeline import locked_outs, stage_files, upstream
from rediffuse.tracking import SCORED_BY, Candidate
from rediffuse.tracking.names import score_tags, summary_names
from rediffuse.tracking.records import Data, Registration, Summaries, Tags, Weights
from rediffuse.tracking.tables import Table, confusion, of_csv, pictures, score_tables
from rediffuse.workspace import Workspace

if TYPE_CHECKING:
    from rediffuse.tracking.run import TrackedRun

_SHOWN = ("samples", "reports", "plots")
_SHOWN_KINDS = (".png", ".html", ".md", ".csv")
_CURVES = ("training", "validation")  # MLflow draws them


def tell_outputs_of(run: "TrackedRun", workspace: Workspace, stage: str, *, with_upstream: bool) -> None:
    """Tell the files of a stage, and with `with_upstream` those of every stage it depends on.

    Tags `out.<path>` hold the MD5 of each out. dvc.lock has those of earlier stages; the running stage's own entry is
    written when it has ended, so its files are hashed here.
    """
    stages = stage_files(workspace)
    earlier = upstream(stage, stages)
    own = stages[stage].outs if stage in stages else ()
    digests = locked_outs(workspace, earlier)
    digests |= {str(path): file_md5(workspace.root / path) for path in own if (workspace.root / path).is_file()}
    outs = {f"out.{path}": digest for path, digest in digests.items()}
    run.tell(Tags(values=outs | environment_tags(workspace.root, stage)))

    if with_upstream:
        run.tell(Tags(values={f"stage.{name}": "cached" for name in earlier}, default=True))
        for name in earlier:
            _tell_files(run, workspace, name, stages[name].outs)
    _tell_files(run, workspace, stage, own)


def registration(workspace: Workspace, candidate: Candidate, model: str) -> Registration:
    """The record of a model that is to be registered.

    Args:
        model: its folder in the journal.
    """
    data, weights = _data(workspace), _weights(workspace)
    made_of = {"data": data.digest} if data else {}
    return Registration(
        **{**asdict(candidate), "protocol": candidate.protocol | made_of},
        md5=weights.md5 if weights else "",
        sha256=weights.sha256 if weights else "",
        file=model,
    )


def _tell_files(run: "TrackedRun", workspace: Workspace, stage: str, outs: Sequence[PurePosixPath]) -> None:
    """Tell what one stage wrote."""
    metrics = files.read_json(workspace.metrics(stage)) if workspace.metrics(stage).exists() else {}
    weights = _weights(workspace) if stage == SCORED_BY else None
    if weights:
        run.tell(weights)
    if metrics:
        numbers = summary_names(stage, metrics)
        run.tell(Summaries(values=numbers, model=weights.md5 if weights else None))
    if tags := score_tags(metrics, stage):
        run.tell(Tags(values=tags))
    if stage == "split" and (data := _data(workspace)):
        run.tell(data)
    if stage == "train":
        for name in ("training", "validation"):
            run.log_curve(_rows(workspace.plot(name)))
    artifacts = list(_artifacts(workspace, stage, outs))
    for path, folder in artifacts:
        run.log_file(folder, path.name, path)
    if stage == SCORED_BY:
        for name, table in score_tables(metrics).items():
            _tell_table(run, name, table)
        # `sample` told of its own.
        drawn = [f"samples/{path.name}" for path in sorted(workspace.grid.parent.glob("*.png"))]
        drawn += [f"{folder}/{path.name}" for path, folder in artifacts if path.suffix == ".png"]
        _tell_table(run, "figures", pictures(drawn))
    for path, folder in artifacts:
        if folder == "plots" and path.stem not in _CURVES:
            _tell_table(run, path.stem, confusion(path) if path.stem == "confusion" else of_csv(path))


def _tell_table(run: "TrackedRun", name: str, table: Table) -> None:
    if table.rows:
        run.log_file("tables", f"{name}.json", table.encode(), table=True)


def _data(workspace: Workspace) -> Data | None:
    """The cleaned data and their split; the digest is the beginning of either's, and changes with either."""
    if not (workspace.card.exists() and workspace.split.exists()):
        return None
    card = files.read_json(workspace.card)
    return Data(
        source=card["source"],
        digest=f"{card['digest'][:16]}-{file_md5(workspace.split)[:16]}",
        files={
            path.name: path.relative_to(workspace.root).as_posix() for path in (workspace.examples, workspace.split)
        },
        card=card,
    )


def _weights(workspace: Workspace) -> Weights | None:
    path = workspace.denoiser
    if not path.exists():
        return None
    return Weights(
        path=path.relative_to(workspace.root).as_posix(),
        md5=file_md5(path),
        sha256=files.sha256(path),
    )


def _artifacts(workspace: Workspace, stage: str, outs: Sequence[PurePosixPath]) -> Iterator[tuple[Path, str]]:
    """The files among a stage's outs that are for people's eyes, each with the folder it comes to."""
    for out in outs:
        if out.parts[0] not in _SHOWN:
            continue
        path = workspace.root / out
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in _SHOWN_KINDS and file.is_file():
                yield file, "data" if stage == "survey" else file.relative_to(workspace.root).parent.as_posix()


def _rows(path: Path) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers; an empty cell is no value, and a missing file has no rows."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
