"""The data's page as a single HTML file, and its pictures one by one: the same bytes for the same data.

It carries no date or host, so that it is an out like any other: equal inputs, equal md5 in dvc.lock.
"""

from dataclasses import dataclass

import pandas as pd

from rediffuse.charts import Picture, on_paper
from rediffuse.pages import Reading, templates
from rediffuse.survey.groups import Groups
from rediffuse.survey.strips import Strip, contact_sheet
from rediffuse.survey.thumbnails import SIDE


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why images are not kept, or are marked.

    Args:
        name, words: the reason, and what it means.
        counts: what it did to how many images, as text.
        shares: dropped, quarantined and marked, as shares of the commonest reason's images; 0 to 1.
        below: the id of the section of the page that shows more; empty for none.
        strips: some of the images.
    """

    name: str
    words: str
    counts: str
    shares: tuple[float, float, float]
    below: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """All that the page shows; a field left empty leaves its section out.

    Args:
        title, subtitle: which data this is, and how much.
        provenance: where it comes from, in a line.
        about: what is known of the source, by name.
        flow: what became of the images; flow_words: the same in sentences.
        reasons: the commonest first, with their picture.
        conversions: how many of the kept images decoding changed, by what it did.
        groups: of duplicates; group_words: the same in sentences; group_strips: some of them.
        outliers, suspects: far from their class; with unlikely labels.
        examples: a row a class.
        classes: their shares in each split; class_words: the same in a sentence; class_table: the counts, of all.
        dimensions, quality: how large the images are, and how bright.
        checks: of the split.
        protocol: the parameters of prepare, clean and split, by name.
    """

    title: str
    subtitle: str
    provenance: str
    about: dict[str, str]
    flow: Picture
    flow_words: list[str]
    reasons: list[Reason]
    reasons_picture: Picture | None
    conversions: dict[str, str]
    groups: Groups
    group_words: str
    group_strips: list[Strip]
    outliers: Strip | None
    suspects: Strip | None
    examples: list[Strip]
    classes: Picture | None
    class_words: str
    class_table: pd.DataFrame
    dimensions: Picture
    dimension_words: str
    quality: Picture
    checks: list[Reading]
    protocol: dict[str, str]


def render(report: DataReport) -> str:
    """The page as HTML text."""
    numbers = _numbered(report)
    return templates("rediffuse.survey").get_template("survey.html").render(report=report, strips=numbers, side=SIDE)


def pictures(report: DataReport) -> dict[str, bytes]:
    """The page's pictures by file name, as PNG on white."""
    rejects = {"rejected": "dropped", "quarantined": "quarantined", "marked": "kept and marked"}
    figures = {
        "flow": report.flow,
        "reasons": report.reasons_picture,
        "classes": report.classes,
        "dimensions": report.dimensions,
        "quality": report.quality,
    }
    sheets = {
        "duplicates": report.group_strips,
        "outliers": [report.outliers] if report.outliers else [],
        "suspects": [report.suspects] if report.suspects else [],
        "examples": report.examples,
    } | {
        name: [
            Strip(reason.name, strip.note, strip.alert, strip.tiles)
            for reason in report.reasons
            for strip in reason.strips
            if strip.heading == heading
        ]
        for name, heading in rejects.items()
    }
    return {f"{name}.png": on_paper(figure.light) for name, figure in figures.items() if figure} | {
        f"{name}.png": contact_sheet(strips) for name, strips in sheets.items() if strips
    }


def _numbered(report: DataReport) -> list[Strip]:
    """All strips; a strip's number on the page is its position here."""
    return [
        *(strip for reason in report.reasons for strip in reason.strips),
        *report.group_strips,
        *filter(None, (report.outliers, report.suspects)),
        *report.examples,
    ]
