"""Rows of thumbnails: one picture a row for the page, and sheets of rows for everywhere else."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rediffuse.data.arrays import map_examples
from rediffuse.survey.galleries import Gallery, Pick
from rediffuse.survey.thumbnails import SIDE, Original, read_originals, thumbnail_of_example
from rediffuse.survey.words import printable, shortened
from rediffuse.workspace import Workspace

_QUALITY = 85
_WORDS = 36  # letters in place of a picture
_ACROSS = 12
_CELL, _LINE, _GAP = SIDE + 16, 14, 12
_PAPER, _INK, _SOFT, _ALERT, _EMPTY = "#ffffff", "#1f2430", "#5b6475", "#b4541a", "#eef1f6"


@dataclass(frozen=True, eq=False)
class Tile:
    """A thumbnail on the page.

    Args:
        pixels: uint8, H×W×3, `SIDE` at most; None where there is nothing to show.
        words: what stands in its place where there is nothing.
        captions, title: below it and on pointing at it; the title is what a screen reader says.
        alert: whether the captions tell of something wrong.
    """

    pixels: np.ndarray | None
    words: str
    captions: tuple[str, ...]
    title: str
    alert: bool

    @property
    def width(self) -> int:
        return 0 if self.pixels is None else int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return 0 if self.pixels is None else int(self.pixels.shape[0])


@dataclass(frozen=True, eq=False)
class Strip:
    """Thumbnails in a row, with a heading and a note."""

    heading: str
    note: str
    alert: bool
    tiles: tuple[Tile, ...]

    @property
    def sprite(self) -> bytes:
        """All thumbnails in one JPEG, each at the upper left of its own square of `SIDE` pixels; empty without any."""
        shown = [np.zeros((SIDE, SIDE, 3), np.uint8) if tile.pixels is None else tile.pixels for tile in self.tiles]
        if all(tile.pixels is None for tile in self.tiles):
            return b""
        # Edges are repeated outward: next to black, JPEG would let them ring.
        squares = [
            np.pad(pixels, ((0, SIDE - pixels.shape[0]), (0, SIDE - pixels.shape[1]), (0, 0)), mode="edge")
            for pixels in shown
        ]
        image = Image.fromarray(np.concatenate(squares, axis=1))
        if all((square == square[..., :1]).all() for square in squares):
            image = image.convert("L")
        target = io.BytesIO()
        image.save(target, "JPEG", quality=_QUALITY, subsampling=0)
        return target.getvalue()


class Thumbnails:
    """The thumbnails of everything the page shows, read in one pass.

    Args:
        galleries: all that `strip` will be asked for.
        also: ids of further images to look at in the shards.
        background: RGB under transparent images.
    """

    def __init__(
        self,
        workspace: Workspace,
        galleries: Iterable[Gallery],
        also: Iterable[str],
        background: tuple[int, int, int],
    ) -> None:
        wanted = {pick.id for gallery in galleries for pick in gallery.picks if pick.row is None} | set(also)
        self._examples = map_examples(workspace.examples)
        self.originals: dict[str, Original] = read_originals(workspace.prepared, wanted, background)

    def strip(self, gallery: Gallery) -> Strip:
        """A gallery with its thumbnails."""
        return Strip(gallery.heading, gallery.note, gallery.alert, tuple(map(self._tile, gallery.picks)))

    def _tile(self, pick: Pick) -> Tile:
        if pick.row is not None:
            pixels: np.ndarray | None = thumbnail_of_example(self._examples[pick.row])
        else:
            original = self.originals.get(pick.id)
            pixels = original.thumbnail if original else None
        title = printable(pick.id) + (f"\n{printable(pick.detail)}" if pick.detail else "")
        words = textwrap.shorten(printable(pick.words), _WORDS, placeholder=" …") or "no picture"
        return Tile(pixels, words, tuple(map(printable, pick.captions)), title, pick.alert)


def contact_sheet(strips: Sequence[Strip]) -> bytes:
    """Strips under each other on white paper, as PNG: their headings, their thumbnails and the captions."""
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=10)
    lines = [[strip.tiles[at : at + _ACROSS] for at in range(0, len(strip.tiles), _ACROSS)] for strip in strips]
    width = 2 * _GAP + _CELL * max(len(line) for rows in lines for line in rows)
    most = max(len(tile.captions) for strip in strips for tile in strip.tiles)
    height = _GAP + sum(_LINE + 8 + (SIDE + _LINE * most + _GAP) * len(rows) for rows in lines)
    sheet = Image.new("RGB", (max(width, 6 * _CELL), height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    y = _GAP
    for strip, rows in zip(strips, lines, strict=True):
        colour = _ALERT if strip.alert else _INK
        text = " · ".join(filter(None, (strip.heading, strip.note)))
        draw.text((_GAP, y), shortened(text, 100), colour, font)
        y += _LINE + 8
        for row in rows:
            for column, tile in enumerate(row):
                x = _GAP + column * _CELL
                if tile.pixels is None:
                    draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), _EMPTY)
                    draw.text((x + SIDE / 2, y + SIDE / 2), "no picture", _SOFT, small, anchor="mm")
                else:
                    sheet.paste(Image.fromarray(tile.pixels), (x, y + SIDE - tile.height))
                for line, caption in enumerate(tile.captions):
                    while small.getlength(caption) > _CELL - 4:
                        caption = shortened(caption, len(caption) - 1)
                    draw.text((x, y + SIDE + 2 + 13 * line), caption, _ALERT if tile.alert else _SOFT, small)
            y += SIDE + _LINE * most + _GAP
    target = io.BytesIO()
    sheet.save(target, "PNG")
    return target.getvalue()
