"""The model card: what a model is, how good it is and what it is not for, as Markdown that the Hugging Face hub reads.

Mitchell et al., Model Cards for Model Reporting, 2019. The same bytes for the same facts: no date, path or run id.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from rediffuse.data.card import Card
from rediffuse.evaluation.report.answers import NO_PROOF
from rediffuse.evaluation.report.facts import COMMANDS
from rediffuse.evaluation.report.page import Report
from rediffuse.evaluation.report.tables import Table
from rediffuse.pages import Reading

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_METRICS = ("fd", "kid", "precision", "recall", "f1", "density", "coverage")


def render_card(report: Report, card: Card, metrics: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The card as text.

    Args:
        report: of the same evaluation; the card says its numbers in the same words.
        card: the data's.
        metrics: the content of metrics/evaluate.json.
        params: the tracked parameters, nested.
    """
    sections = (
        _model(report, params),
        _table("Model", ("", ""), list(report.model.items())),
        _table("What it costs", ("", ""), list(report.cost.items())),
        _data(report),
        _use(card),
        _verdicts(report),
        _scores(report),
        _memorisation(report),
        _protocol(report),
        _again(report),
    )
    body = "\n\n".join(section for section in sections if section)
    return f"---\n{front_matter(metrics, params)}---\n\n{body}\n"


def front_matter(metrics: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The YAML that the hub reads: tags and metrics.

    No `license`: the data's is not the model's, and nobody gave one for that. No `datasets`: the hub takes names of its
    own there.
    """
    content: dict[str, Any] = {
        "library_name": "rediffuse",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["diffusion", "image-generation", params["diffusion"]["preset"], params["model"]["name"]],
        "metrics": [name for name in _METRICS if name in metrics["fidelity"]]
        + (["accuracy"] if metrics["utility"] else []),
    }
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 1000
    target = io.StringIO()
    writer.dump(content, target)
    return target.getvalue()


def escaped(text: str) -> str:
    """Text that Markdown shows as it stands, on one line and in a cell of a table."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _model(report: Report, params: Mapping[str, Any]) -> str:
    diffusion = params["diffusion"]
    return (
        f"# {escaped(report.title)}\n\n"
        f"A diffusion model that was trained with rediffuse: network `{params['model']['name']}`, preset "
        f"`{diffusion['preset']}`.\n\n{escaped(report.subtitle)}"
    )


def _data(report: Report) -> str:
    return _table("Data", ("", ""), list(report.data.items()))


def _use(card: Card) -> str:
    classes = f", of its {len(card.classes)} classes" if card.classes else ""
    return (
        "## Intended use and limits\n\n"
        f"It draws images like those of the data above{classes}: for research and teaching on diffusion models, and as "
        "a baseline. It knows nothing else, and shows what the data shows, its gaps and errors included. The scores "
        "below hold for this data, this number of images and these extractors; they don't compare with published FIDs. "
        "Don't take its images for evidence of anything, and don't publish them in place of private data: the audit "
        "below proves no privacy."
    )


def _verdicts(report: Report) -> str:
    rows = [
        (
            each.title,
            each.verdict,
            "; ".join(f"{condition.rule} ({condition.found})" for condition in each.conditions) or "no rule",
        )
        for each in report.verdicts
    ]
    return _table("Verdicts", ("aspect", "verdict", "by the rule (found)"), rows) if rows else ""


def _scores(report: Report) -> str:
    groups = ((report.fidelity, "real test images"), (report.utility, "real images"), (report.likelihood, "baseline"))
    tables = [_readings(rows, floor) for rows, floor in groups if rows]
    if report.controls:
        tables.insert(1, _numbers(report.controls))
    if report.no_utility:
        tables.append(f"Use to a classifier: {escaped(report.no_utility)}.")
    note = "Numbers in brackets: 95 % intervals."
    return "\n\n".join(["## Scores", " ".join([note, *map(escaped, report.notes)]), *tables])


def _memorisation(report: Report) -> str:
    groups = ((report.copies, "real test images"), (report.attacks, "by chance"))
    tables = [_readings(rows, floor) for rows, floor in groups if rows]
    return "\n\n".join(["## Memorisation audit", *tables, NO_PROOF])


def _protocol(report: Report) -> str:
    rows = [
        (block, "; ".join(f"{name}: {value}" for name, value in facts.items()))
        for block, facts in report.protocol.items()
    ]
    return _table("How it was scored", ("scores", "by"), rows)


def _again(report: Report) -> str:
    commands = "\n".join(f"{command:12} # {words}" for command, words in COMMANDS)
    return "\n\n".join(
        (
            "## Again",
            "The same data, parameters and code give the same bytes on the same kind of machine:",
            f"```\n{commands}\n```",
            f"The commit that made this model is the first that `{report.made_by}` lists.",
            _rows(("", ""), list(report.digests.items())),
            "Computed with "
            + ", ".join(f"{name} {escaped(value)}" for name, value in report.environment.items())
            + ".",
        )
    )


def _readings(readings: Sequence[Reading], floor: str) -> str:
    def both(value: str, interval: str) -> str:
        return f"{value} [{interval}]" if interval else value

    rows = [
        (row.name, both(row.value, row.interval), both(row.floor, row.floor_interval), row.words) for row in readings
    ]
    return _rows(("score", "value", floor, "which says"), rows)


def _numbers(table: Table) -> str:
    rows = [(name, *(cell.value for cell in cells)) for name, cells in table.rows]
    return _rows(table.headings, rows)


def _table(heading: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return f"## {heading}\n\n{_rows(headings, rows)}"


def _rows(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *(tuple(map(escaped, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
