"""What a clone's dvc.lock and an MLflow run know of each stage."""

import json
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rediffuse.errors import UserError
from rediffuse.params import flatten, load_params
from rediffuse.provenance.environment import TAG_PREFIX
from rediffuse.provenance.made import read_environment
from rediffuse.provenance.pipeline import StageFiles, locked_stages, stage_files
from rediffuse.tracking.key import content_key
from rediffuse.tracking.names import safe_name
from rediffuse.verify.comparison import Making
from rediffuse.workspace import Workspace

_SQLITE = "sqlite:///"
_OUT_TAG = "out."
# All that a run knows of the code; so it is compared where the parameters are equal.
_CODE = "dvc.yaml or a file of src/ or stages/"


def of_clone(workspace: Workspace) -> dict[str, Making]:
    """Stage -> what dvc.lock and the records beside it say.

    Raises:
        UserError: the folder is no clone, or nothing was made in it.
    """
    if not workspace.pipeline.is_file():
        raise UserError(f"{workspace.root} is no clone: it has no dvc.yaml")
    if not workspace.lock.is_file():
        raise UserError(f"{workspace.root} has no dvc.lock; run dvc repro there")
    return {name: _of_lock(workspace, name, entry) for name, entry in locked_stages(workspace).items()}


def of_run(
    workspace: Workspace, run_id: str, here: Mapping[str, Making]
) -> tuple[dict[str, Making], dict[str, Making]]:
    """What an MLflow run knows of the stages of this clone, and as much of this clone as is to be compared with it.

    A run lists parameters as the presets completed them, and one key for the code; so both sides get these.

    Returns:
        This clone and the run, without the outs that the run does not list.

    Raises:
        UserError: there is no such run, or it made nothing yet.
    """
    run = _run(workspace, run_id)
    tags: dict[str, str] = run.data.tags
    params = load_params(workspace.params)
    mine = {safe_name(name): _as_text(value) for name, value in flatten(params.tracked()).items()}
    theirs = {name: value for name, value in run.data.params.items() if name in mine}
    keys = (content_key(params, workspace), tags.get("rediffuse.key")) if mine == theirs else (None, None)
    environment = {tag.removeprefix(TAG_PREFIX): text for tag, text in tags.items() if tag.startswith(TAG_PREFIX)}

    this, other = {}, {}
    for name, making in here.items():
        logged = {path: tags[tag] for path in making.outs if (tag := safe_name(_OUT_TAG + path, keep="/")) in tags}
        if not logged:
            continue
        listed = {parameter for parameter in mine if _is_listed(parameter, making.params)}
        # A run has the fields of all its stages, and a record those of one.
        shared = (making.environment or {}).keys() & environment.keys()
        this[name] = Making(
            outs={path: making.outs[path] for path in logged},
            deps={_CODE: keys[0]} if keys[0] else {},
            params={parameter: mine[parameter] for parameter in listed},
            environment=making.environment and {field: making.environment[field] for field in shared},
        )
        other[name] = Making(
            outs=logged,
            deps={_CODE: keys[1]} if keys[1] else {},
            params={parameter: theirs[parameter] for parameter in listed & theirs.keys()},
            environment={field: environment[field] for field in shared} if environment else None,
        )
    if not this:
        raise UserError(f"the MLflow run {run_id} lists no outs of this pipeline: none of its stages has ended")
    return this, other


def in_order(workspace: Workspace, names: Iterable[str]) -> list[str]:
    """The named stages, each behind those it reads from; those that dvc.yaml does not know come last."""
    named = list(names)
    stages = stage_files(workspace)
    graph = {name: [other for other in stages if other != name and _reads(stages, name, other)] for name in stages}
    known = [name for name in TopologicalSorter(graph).static_order() if name in named]
    return known + sorted(set(named) - set(known))


def _reads(stages: Mapping[str, StageFiles], name: str, other: str) -> bool:
    return stages[name].reads_from(stages[other])


def _of_lock(workspace: Workspace, stage: str, entry: Mapping[str, Any]) -> Making:
    outs = _digests(entry.get("outs"))
    listed = (entry.get("params") or {}).values()
    return Making(
        outs=outs,
        deps=_digests(entry.get("deps")),
        params={name: value for params in listed for name, value in flatten(params).items()},
        environment=read_environment(workspace, stage, outs),
    )


def _digests(entries: Any) -> dict[str, str]:
    return {entry["path"].rstrip("/"): str(entry["md5"]) for entry in entries or () if "md5" in entry}


def _is_listed(parameter: str, params: Mapping[str, Any]) -> bool:
    """Whether a stage that lists these names depends on the parameter; a preset may have made several keys of one."""
    return parameter in params or parameter.split(".")[0] in {name.split(".")[0] for name in params}


def _run(workspace: Workspace, run_id: str) -> Any:
    # A second's import, for one of three ways.
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from rediffuse.tracking.store import tracking_uri

    uri = tracking_uri(workspace)
    database = Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0]))
    if uri.startswith(_SQLITE) and not database.exists():
        raise UserError(f"--run: there are no runs: {database} is missing")
    try:
        return MlflowClient(uri).get_run(run_id)
    except MlflowException as error:
        raise UserError(f"--run: MLflow gives no run {run_id}: {str(error).splitlines()[0]}") from error


def _as_text(value: Any) -> str:
    """A parameter as a run lists it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
