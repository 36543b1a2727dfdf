"""What a clone's dvc.lock and an MLflow run know of each stage."""

import json
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any

from rediffuse.errors import UserError
from rediffuse.params import flatten, load_params
from rediffuse.presets import PRESETS, PUBLISHED, SIZES, expand
from rediffuse.provenance.digests import out_md5
from rediffuse.provenance.environment import tag_prefix
from rediffuse.provenance.made import read_environment
from rediffuse.provenance.pipeline import StageFiles, locked_stages, stage_files
from rediffuse.tracking.key import content_key
from rediffuse.tracking.names import as_text, safe_name
from rediffuse.verify.comparison import CODE, Making
from rediffuse.workspace import Workspace

_OUT_TAG = "out."
_KEY_TAG = "rediffuse.key"
# What a null is completed from, and what it may be the null of.
_CHOICES = ("diffusion.preset", "model.size")
_OF_PRESETS = set(PUBLISHED).union(*PRESETS.values(), *SIZES.values())


def of_clone(workspace: Workspace) -> dict[str, Making]:
    """Stage -> what dvc.lock and the records beside it say; `unmatched` has the stages that are not among them.

    Raises:
        UserError: the folder is no clone, or nothing was made in it.
    """
    if not workspace.pipeline.is_file():
        raise UserError(f"{workspace.root} is no clone: it has no dvc.yaml")
    if not workspace.lock.is_file():
        raise UserError(f"{workspace.root} has no dvc.lock; run dvc repro there")
    unknown = _unknown(workspace)
    stages = locked_stages(workspace)
    return {name: _of_lock(workspace, name, entry) for name, entry in stages.items() if name not in unknown}


def unmatched(workspace: Workspace) -> list[str]:
    """What is compared with nothing, a line each: the stages that dvc.yaml and dvc.lock do not both know."""
    written, locked = stage_files(workspace).keys(), locked_stages(workspace).keys()
    made = {_template(name) for name in locked}
    dropped = [f"{name}: left out, for dvc.yaml has no such stage any more" for name in sorted(_unknown(workspace))]
    return dropped + [
        f"{name}: left out, for dvc.lock has no such stage yet; dvc repro makes it"
        for name in written
        if name not in made
    ]


def of_run(
    workspace: Workspace, run_id: str, here: Mapping[str, Making]
) -> tuple[dict[str, Making], dict[str, Making]]:
    """What an MLflow run knows of the stages of this clone, and as much of this clone as is to be compared with it.

    A run lists parameters as preset and size completed them, so those of dvc.lock are completed too. Of the code it has
    one key, with all parameters in it: a stage has this clone's key where its files and parameters are still those that
    dvc.lock was made of, and the run's are the same.

    Returns:
        This clone and the run, without the outs that the run does not list.

    Raises:
        UserError: there is no such run, or it made nothing yet.
    """
    run = _run(workspace, run_id)
    tags: dict[str, str] = run.data.tags
    logged = {name: _plain(text) for name, text in run.data.params.items()}
    key = _present_key(workspace, logged)

    this, other = {}, {}
    for name, making in here.items():
        outs = {path: tags[tag] for path in making.outs if (tag := safe_name(_OUT_TAG + path, keep="/")) in tags}
        if not outs:
            continue
        params = {safe_name(key): _plain(as_text(value)) for key, value in _completed(making.params).items()}
        prefix = safe_name(tag_prefix(name), keep="/")
        environment = {tag.removeprefix(prefix): text for tag, text in tags.items() if tag.startswith(prefix)}
        comparable = key is not None and _still_there(workspace, making)
        this[name] = Making(
            outs={path: making.outs[path] for path in outs},
            deps={},
            params=params,
            environment=making.environment,
            key=key if comparable else None,
        )
        other[name] = Making(
            outs=outs,
            deps={},
            params={parameter: value for parameter, value in logged.items() if _is_listed(parameter, params)},
            environment=environment or None,
            key=tags.get(_KEY_TAG) if comparable else None,
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


def _unknown(workspace: Workspace) -> set[str]:
    """The stages of dvc.lock that dvc.yaml does not have: DVC never takes an entry out."""
    stages = stage_files(workspace)
    return {name for name in locked_stages(workspace) if name not in stages and _template(name) not in stages}


def _template(stage: str) -> str:
    """The name in dvc.yaml; of a stage that `foreach` or `matrix` made, that of all of them."""
    return stage.partition("@")[0]


def _completed(params: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's parameters in dvc.lock with what preset and size say; without those that only one not listed knows."""
    nested: dict[str, Any] = {}
    for name in params.keys() & {*_OF_PRESETS, *_CHOICES}:
        *sections, key = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = params[name]
    known = {**params, **flatten(expand(nested))}
    return {name: value for name, value in known.items() if value is not None or name not in _OF_PRESETS}


def _is_listed(parameter: str, params: Mapping[str, Any]) -> bool:
    """Whether a parameter is one of these, or lies below or above one: `sample.classes` is null, or has keys."""
    return parameter in params or any(
        parameter.startswith(f"{name}.") or name.startswith(f"{parameter}.") for name in params
    )


def _present_key(workspace: Workspace, logged: Mapping[str, Any]) -> str | None:
    """The key of the code here, where a run of these parameters can have the same; else None."""
    try:
        params = load_params(workspace.params)
    except UserError:
        return None
    present = {safe_name(name): _plain(as_text(value)) for name, value in flatten(params.tracked()).items()}
    return content_key(params, workspace) if present == logged else None


def _still_there(workspace: Workspace, making: Making) -> bool:
    """Whether the code that a stage depends on is still what dvc.lock lists."""
    code = {path: md5 for path, md5 in making.deps.items() if path.startswith(CODE)}
    return all(out_md5(workspace.root / path) == md5 for path, md5 in code.items())


def _run(workspace: Workspace, run_id: str) -> Any:
    # A second's import, for one of three ways.
    from mlflow import MlflowClient

    from rediffuse.tracking.store import check_server, reason, sqlite_file, tracking_uri

    uri = tracking_uri(workspace)
    database = sqlite_file(uri)
    if database is not None and not database.exists():
        raise UserError(f"--run: there are no runs: {database} is missing")
    try:
        check_server(uri)
        return MlflowClient(uri).get_run(run_id)
    except Exception as error:
        raise UserError(f"--run: MLflow gives no run {run_id}: {reason(error)}") from None


def _plain(text: str) -> Any:
    """What a run lists as a value to compare: 1 is 1.0."""
    try:
        return json.loads(text)
    except ValueError:
        return text
