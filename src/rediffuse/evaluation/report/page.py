"""The report of one model as a single HTML file: everything inline, nothing fetched, the same bytes for the same facts.

It carries no date, host or run id, so that it is an out like any other: equal inputs, equal md5 in dvc.lock.
"""

from dataclasses import dataclass

from rediffuse.charts import Picture, on_paper
from rediffuse.evaluation.report.answers import NO_PROOF
from rediffuse.evaluation.report.facts import COMMANDS
from rediffuse.evaluation.report.figures.classes import MOST
from rediffuse.evaluation.report.tables import HALF_ROW, Table
from rediffuse.evaluation.report.verdicts import Verdict
from rediffuse.pages import Reading, templates

_CURVES = {
    "guidance": "Guidance",
    "evaluations": "What fewer evaluations cost",
    "training": "Training",
    "noise_levels": "Loss by noise level",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows; a field left empty leaves its section out.

    Args:
        title, subtitle: what was made, from what.
        verdicts: an aspect each.
        grid, raw_grid, film: PNG bytes of samples by the averaged and by the raw weights, and of images emerging from
            noise; raw_grid None where there is none.
        fidelity: scores of distribution; notes: what to bear in mind of them.
        controls, extractors: the same scores of images bad on purpose, and by other extractors.
        by_class: a row a class.
        utility: of use to a classifier, or `no_utility`, why there are no such scores.
        gain: what generated images add to real ones.
        copies, attacks: of memorisation, what the images say, and what the model itself does.
        likelihood: its scores.
        figures: by the name of their file: scale, by_class, confusion, training, noise_levels, guidance, evaluations,
            gain, suspicious. One that is missing is left out.
        captions: of figures by their names, and of the pictures grid and film.
        model, cost, data, environment, digests, params: facts by name, in the order given.
        protocol: facts by name, by block of scores.
        made_by: the command that finds the commit which made the model.
    """

    title: str
    subtitle: str
    verdicts: list[Verdict]
    grid: bytes
    raw_grid: bytes | None
    film: bytes
    fidelity: list[Reading]
    notes: list[str]
    controls: Table | None
    extractors: Table | None
    by_class: Table | None
    utility: list[Reading]
    no_utility: str
    gain: Table | None
    copies: list[Reading]
    attacks: list[Reading]
    likelihood: list[Reading]
    figures: dict[str, Picture]
    captions: dict[str, str]
    model: dict[str, str]
    cost: dict[str, str]
    data: dict[str, str]
    protocol: dict[str, dict[str, str]]
    environment: dict[str, str]
    digests: dict[str, str]
    params: dict[str, str]
    made_by: str


def render(report: Report) -> str:
    """The page as HTML text."""
    template = templates("rediffuse.evaluation.report").get_template("report.html")
    return template.render(
        report=report, commands=COMMANDS, curves=_CURVES, half_row=HALF_ROW, no_proof=NO_PROOF, most=MOST
    )


def figure_files(report: Report) -> dict[str, bytes]:
    """The page's figures by file name, as PNG on white."""
    return {f"{name}.png": on_paper(figure.light) for name, figure in report.figures.items()}
