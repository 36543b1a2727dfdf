"""What dvc.yaml and dvc.lock say about the stages: who feeds whom, and the MD5 of what each wrote."""

import re
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rediffuse.errors import UserError
from rediffuse.params import flatten
from rediffuse.workspace import Workspace

_NAME = re.compile(r"\$\{\s*([^}\s]+)\s*\}")


@dataclass(frozen=True, kw_only=True)
class StageFiles:
    """The paths one stage reads and writes, relative to the root, as in dvc.yaml."""

    deps: tuple[PurePosixPath, ...]
    outs: tuple[PurePosixPath, ...]

    def reads_from(self, other: "StageFiles") -> bool:
        """Whether a dependency of this stage is an out of the other, lies in one or holds one."""
        return any(dep.is_relative_to(out) or out.is_relative_to(dep) for dep in self.deps for out in other.outs)


def stage_files(workspace: Workspace) -> dict[str, StageFiles]:
    """Each stage of dvc.yaml, with what params.yaml says for `${name}`; empty where there is no dvc.yaml."""
    stages = _stages_in(workspace.pipeline)
    listed = {
        name: {field: _paths(stage, field) for field in ("deps", "outs", "metrics", "plots")}
        for name, stage in stages.items()
    }
    named = any("${" in path for fields in listed.values() for paths in fields.values() for path in paths)
    values = flatten(load_dvc_file(workspace.params)) if named and workspace.params.exists() else {}

    def filled(*paths: str) -> tuple[PurePosixPath, ...]:
        return tuple(PurePosixPath(_NAME.sub(lambda name: str(values.get(name[1], name[0])), path)) for path in paths)

    return {
        name: StageFiles(
            deps=filled(*fields["deps"]), outs=filled(*fields["outs"], *fields["metrics"], *fields["plots"])
        )
        for name, fields in listed.items()
    }


def upstream(stage: str, stages: dict[str, StageFiles]) -> list[str]:
    """The stages that `stage` depends on, directly or not, in the order of dvc.yaml.

    For the others dvc.lock may still describe an earlier pipeline run.
    """
    found: set[str] = set()
    frontier = {stage} & stages.keys()
    while frontier:
        reached = {name for name in stages for reader in frontier if stages[reader].reads_from(stages[name])}
        frontier = reached - found - {stage}
        found |= frontier
    return [name for name in stages if name in found]


def locked_outs(workspace: Workspace, names: list[str]) -> dict[str, str]:
    """Path -> MD5 of the outs that dvc.lock lists for the named stages."""
    locked = locked_stages(workspace)
    return {
        out["path"].rstrip("/"): out["md5"]
        for name in names
        for out in locked.get(name, {}).get("outs", [])
        if "md5" in out
    }


def load_dvc_file(path: Path) -> dict[str, Any]:
    """A file of DVC's as DVC reads it, with anchors, merges, dates and all else that params.yaml may not hold.

    Raises:
        UserError: the file can't be read, or is no YAML; the message names file and line.
    """
    try:
        document = deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UserError(f"{path.name}{where}: not YAML: {reason}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.name}: not YAML: {error}") from None
    return document if isinstance(document, dict) else {}


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """The document in a text. The same few files are asked for again and again, and ruamel reads 400 kB a second."""
    return YAML(typ="safe", pure=True).load(text)


def locked_stages(workspace: Workspace) -> dict[str, Any]:
    """What dvc.lock lists of each stage; empty where there is no dvc.lock."""
    return _stages_in(workspace.lock)


def _stages_in(path: Path) -> dict[str, Any]:
    """The stages that a file of DVC's names; empty where there is no such file."""
    stages = load_dvc_file(path).get("stages") if path.exists() else None
    return (
        {name: stage for name, stage in stages.items() if isinstance(stage, dict)} if isinstance(stages, dict) else {}
    )


def _paths(stage: dict[str, Any], field: str) -> list[str]:
    """The paths of one field; an entry is a path, or a mapping of one path to its settings."""
    entries = stage.get(field) or []
    return [str(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries]
