"""The report as files: the page, the model card, and each figure by itself."""

from collections.abc import Mapping
from typing import Any

from rediffuse import files
from rediffuse.data.card import Card
from rediffuse.evaluation.report.model_card import render_card
from rediffuse.evaluation.report.page import Report, figure_files, render
from rediffuse.workspace import Workspace


def write_report(
    workspace: Workspace, report: Report, metrics: Mapping[str, Any], card: Card, params: Mapping[str, Any]
) -> None:
    """Write reports/report.html, reports/model_card.md and reports/figures/, which then holds these figures alone."""
    files.write_folder(workspace.figures, figure_files(report))
    files.write_bytes(workspace.model_card, render_card(report, card, metrics, params).encode())
    files.write_bytes(workspace.report, render(report).encode())
