"""What the data is and what became of it, from data/ to reports/data.html, with its pictures in reports/data/."""

from typing import Any

from rediffuse import files
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.survey.assembly import assemble
from rediffuse.survey.report import pictures, render
from rediffuse.survey.tables import Tables
from rediffuse.workspace import Workspace


def survey(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Draw the page and its pictures; give how many there are."""
    report = assemble(
        workspace,
        Tables.read(workspace),
        prepare=params.prepare,
        clean=params.clean,
        split=params.split,
        split_metrics=files.read_json(workspace.metrics("split")),
    )
    drawn = pictures(report)
    files.write_folder(workspace.data_pictures, drawn)
    files.write_bytes(workspace.data_report, render(report).encode())
    return {"pictures": len(drawn)}


if __name__ == "__main__":
    run_stage(survey)
