"""Sheets of images as PNG, the same bytes for the same pixels."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK = 255, 60
_GAP = 4
COLUMNS = 12
"""Images of a class that `class_grid` shows."""
ROWS = 16
"""Classes that it shows, at most."""


def sheet(
    rows: Sequence[np.ndarray | Sequence[np.ndarray]], names: Sequence[str], columns: Sequence[str] = (), cell: int = 48
) -> bytes:
    """A table of images.

    Args:
        rows: images C×H×W, uint8, C = 1 or 3; rows may differ in length.
        names: what stands left of each row; empty for none.
        columns: what stands above each column; empty for none.
        cell: least pixels a side of an image; smaller ones are enlarged by a whole factor, smoothly: as squares, 8×8
            pixels say little to the eye. The arrays hold the true ones.
    """
    font = ImageFont.load_default(size=13)
    channels, height, width = rows[0][0].shape
    factor = max(1, -(-cell // max(height, width)))
    step_x, step_y = width * factor + _GAP, height * factor + _GAP
    left = int(max((font.getlength(name) for name in names), default=-2 * _GAP)) + 3 * _GAP
    top = 20 if columns else _GAP
    size = (left + step_x * max(len(row) for row in rows), top + step_y * len(rows))
    picture = Image.new("L" if channels == 1 else "RGB", size, _PAPER if channels == 1 else (_PAPER,) * 3)
    draw = ImageDraw.Draw(picture)
    ink = _INK if channels == 1 else (_INK,) * 3
    for x, name in enumerate(columns):
        draw.text((left + x * step_x + (step_x - _GAP) / 2, top / 2), name, ink, font, anchor="mm")
    for y, row in enumerate(rows):
        if names:
            draw.text((_GAP, top + y * step_y + (step_y - _GAP) / 2), names[y], ink, font, anchor="lm")
        for x, image in enumerate(row):
            pixels = image[0] if channels == 1 else image.transpose(1, 2, 0)
            enlarged = Image.fromarray(np.ascontiguousarray(pixels)).resize(
                (width * factor, height * factor), Image.Resampling.BICUBIC
            )
            picture.paste(enlarged, (left + x * step_x, top + y * step_y))
    return _png(picture)


def class_grid(images: np.ndarray, labels: np.ndarray, classes: Sequence[str], columns: int = COLUMNS) -> bytes:
    """The first images of each class, a row a class, at most ROWS of them; for unlabelled ones rows without a name.

    Args:
        images: N×C×H×W, uint8.
        labels: N class indices.
        classes: their names; empty for unlabelled images.
    """
    rows = grid_rows(labels, classes, columns)
    names = [classes[int(labels[row[0]])] for row in rows] if classes else ()
    return sheet([images[row] for row in rows], names)


def grid_rows(labels: np.ndarray, classes: Sequence[str], columns: int = COLUMNS) -> list[np.ndarray]:
    """Which images `class_grid` shows of those with such labels, as the indices of each row; none of them is empty."""
    if not classes:
        shown = np.arange(len(labels))[: columns * 8]
        return [shown[i : i + columns] for i in range(0, len(shown), columns)]
    rows = [np.flatnonzero(labels == label)[:columns] for label in range(len(classes))]
    return [row for row in rows if len(row)][:ROWS]


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
