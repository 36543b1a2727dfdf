"""The report of one model as a single HTML file: everything inline, nothing fetched, the same bytes for the same facts.

It carries no date, host or run id, so that it is an out like any other: equal inputs, equal md5 in dvc.lock.
"""

from dataclasses import dataclass

from rediffuse.charts import Picture, on_paper
from rediffuse.evaluation.report.answers import NO_PROOF
from rediffuse.evaluation.report.facts import COMMANDS
from rediffuse.evaluation.report.figures.classes import MOST
from rediffuse.evaluation.report.tables import Table
from rediffuse.evaluation.report.verdicts import Verdict
from rediffuse.pages import Reading, templates

_CURVES = (
    ("guidance", "Guidance", "The band: 95 % interval. Dashed: the scale of the samples above."),
    ("evaluations", "What fewer evaluations cost", "Each sampler on its own grid. The band: 95 % interval."),
    ("training", "Training", ""),
    ("noise_levels", "Loss by noise level", "On the validation images."),
)
_PAIRS = (
    "First row: generated images. Below each: the real training images nearest to it in feature space. Alike is good, "
    "the same is a copy."
)


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
        memorisation, likelihood: their scores.
        figures: by the name of their file: scale, by_class, confusion, training, noise_levels, guidance, evaluations,
            gain, suspicious. One that is missing is left out.
        cost, data, environment, digests, params: facts by name, in the order given.
        protocol: facts by name, by block of scores.
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
    memorisation: list[Reading]
    likelihood: list[Reading]
    figures: dict[str, Picture]
    cost: dict[str, str]
    data: dict[str, str]
    protocol: dict[str, dict[str, str]]
    environment: dict[str, str]
    digests: dict[str, str]
    params: dict[str, str]


def render(report: Report) -> str:
    """The page as HTML text."""
    template = templates("rediffuse.evaluation.report").get_template("report.html")
    return template.render(report=report, commands=COMMANDS, curves=_CURVES, pairs=_PAIRS, no_proof=NO_PROOF, most=MOST)


def figure_files(report: Report) -> dict[str, bytes]:
    """The page's figures by file name, as PNG on white."""
    return {f"{name}.png": on_paper(figure.light) for name, figure in report.figures.items()}
