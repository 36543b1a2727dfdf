"""The report of one model as a single HTML file: everything inline, nothing fetched, the same bytes for the same facts.

It carries no date, host or run id, so that it is an out like any other: equal inputs, equal md5 in dvc.lock.
"""

from dataclasses import dataclass, field

from rediffuse.charts import Picture
from rediffuse.pages import Reading, templates


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows; a field left empty leaves its section out.

    Args:
        title, subtitle: what was made, from what.
        scores: of distribution; utility: of use to a classifier, or `no_utility`, why there are none.
        likelihood: of the real test images.
        grid, film: PNG bytes of the samples and of images emerging from noise.
        neighbours: PNG bytes, the first row generated images, below each its nearest real training images.
        curves: figures by heading.
        per_class: precision, recall and F1 of the classification accuracy score, by class name.
        protocol, card, params: facts by name, in the order given.
    """

    title: str
    subtitle: str
    scores: list[Reading]
    utility: list[Reading]
    no_utility: str = ""
    likelihood: list[Reading] = field(default_factory=list)
    grid: bytes
    film: bytes
    neighbours: bytes
    curves: dict[str, Picture]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    protocol: dict[str, str]
    card: dict[str, str]
    params: dict[str, str]


def render(report: Report) -> str:
    """The page as HTML text."""
    return templates("rediffuse.evaluation.report").get_template("report.html").render(report=report)
