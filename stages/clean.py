"""data/prepared/ to data/clean/: images decoded, checked and of one size; a reason for each one that is dropped."""

from typing import Any

from rediffuse import files
from rediffuse.data import cleaning
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.workspace import Workspace


def clean(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Clean the prepared images; give how many were found, kept and rejected, and for what reasons."""
    section = params.clean
    metrics = cleaning.clean(
        workspace, size=section.size, channels=section.channels, max_rejected_share=section.max_rejected_share
    )
    files.write_json(workspace.metrics("clean"), metrics)
    return metrics


if __name__ == "__main__":
    run_stage(clean)
