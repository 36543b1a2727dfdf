"""data/prepared/ to data/clean/: images decoded, checked and of one size; a reason for each one that does not stay."""

from pathlib import Path
from typing import Any

from rediffuse import files
from rediffuse.data import cleaning
from rediffuse.data.engines import open_engine
from rediffuse.params import Params
from rediffuse.provenance.source import source_digest
from rediffuse.stage import run_stage
from rediffuse.workspace import Workspace


def clean(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Clean the prepared images; give how many were found, kept, quarantined and rejected, and for what reasons."""
    runtime = params.runtime
    with open_engine(runtime.engine, runtime.workers) as engine:
        code = source_digest(Path(__file__), ["data"])
        metrics = cleaning.clean(workspace, params.clean, engine, code=code, progress=runtime.progress)
    files.write_json(workspace.metrics("clean"), metrics)
    return metrics


if __name__ == "__main__":
    run_stage(clean)
