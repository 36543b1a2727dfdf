"""A comparison as a picture, a page of its own, and a part of other documents."""

from collections.abc import Mapping

import numpy as np

from rediffuse.compare.experiments import Samples
from rediffuse.compare.scores import HEADINGS, Comparison, rows
from rediffuse.errors import UserError
from rediffuse.pages import templates
from rediffuse.pictures import sheet

BEGIN, END = "<!-- compare:begin -->", "<!-- compare:end -->"
_CLASSES, _UNLABELLED = 10, 12


def picture(samples: Mapping[str, Samples]) -> bytes:
    """A row of samples a preset, as PNG: the first of each of the first ten classes, or the first twelve without any.

    Args:
        samples: by preset; all of the same labels.
    """
    first = next(iter(samples.values()))
    if first.classes:
        shown = np.unique(first.labels, return_index=True)[1][:_CLASSES]
        columns = [first.classes[label] for label in first.labels[shown]]
    else:
        shown, columns = np.arange(min(_UNLABELLED, len(first.labels))), []
    return sheet([each.images[shown] for each in samples.values()], list(samples), columns)


def page(comparison: Comparison, families: bytes | None) -> str:
    """reports/compare.html: one file, nothing fetched.

    Args:
        families: the PNG bytes of `picture`; None where every preset failed.
    """
    template = templates("rediffuse.compare").get_template("page.html")
    made = {name: str(value) for name, value in comparison.made.items()}
    return template.render(headings=HEADINGS, rows=rows(comparison), families=families, made=made)


def inserted(text: str, content: str, name: str) -> str | None:
    """A document with `content` between its two markers, in place of what stood there; None where it has no markers.

    Raises:
        UserError: it has one marker without the other, or one of them twice.
    """
    counts = text.count(BEGIN), text.count(END)
    if counts == (0, 0):
        return None
    if counts != (1, 1) or text.index(END) < text.index(BEGIN):
        raise UserError(f"{name}: {BEGIN} must stand once, and {END} once after it")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.partition(END)[2]}"
