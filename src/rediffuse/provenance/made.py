"""What made each out: the environment of the stage that wrote it, found by the MD5s of the outs."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rediffuse import files
from rediffuse.provenance.digests import out_md5
from rediffuse.provenance.environment import environment
from rediffuse.provenance.pipeline import stage_files
from rediffuse.provenance.source import git_commit
from rediffuse.workspace import Workspace


def write_record(workspace: Workspace, stage: str) -> None:
    """Note what made the outs that a stage has just written; nothing for a stage without outs.

    Experiments that made other outs have records of their own. The outs are what counts, and what they were made from
    may be gone by now: whatever goes wrong here (a full disk, a dvc.yaml in the middle of an edit) is a warning.
    """
    try:
        _write_record(workspace, stage)
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"warning: what made the outs of stage {stage} is not noted: {why}\n")


def read_environment(workspace: Workspace, stage: str, outs: Mapping[str, str]) -> dict[str, str] | None:
    """The environment that made these outs (path -> MD5) of a stage; None where no record of it lies here."""
    try:
        record: dict[str, Any] = files.read_json(record_path(workspace, stage, outs))
    except (OSError, ValueError):
        return None
    return {str(field): str(value) for field, value in record["environment"].items()}


def record_path(workspace: Workspace, stage: str, outs: Mapping[str, str]) -> Path:
    """Where the record of these outs of a stage lies."""
    listed = json.dumps(dict(outs), sort_keys=True)
    name = hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()
    return workspace.state / "made" / stage / f"{name}.json"


def _write_record(workspace: Workspace, stage: str) -> None:
    known = stage_files(workspace).get(stage)
    outs = {} if known is None else {str(path): out_md5(workspace.root / path) for path in known.outs}
    written = {path: digest for path, digest in outs.items() if digest is not None}
    if not written:
        return
    record = {
        "stage": stage,
        "environment": environment(workspace.root),
        "outs": written,
        "commit": git_commit(workspace.root),
    }
    files.write_json(record_path(workspace, stage, written), record)
