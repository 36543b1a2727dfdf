"""Figures as PNG bytes: the same for the same numbers, once for a light page and once for a dark one."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter
from PIL import Image

CSS_PIXELS_AN_INCH = 110
DOTS_AN_INCH = 165


@dataclass(frozen=True)
class Palette:
    """Colours of one page: text, faint lines, and the series in the order in which they are drawn."""

    ink: str
    faint: str
    series: tuple[str, str, str]
    ramp: tuple[str, str]


LIGHT = Palette("#1f2430", "#d8dbe2", ("#9aa3b5", "#2f6fde", "#d9592b"), ("#ffffff", "#2f6fde"))
DARK = Palette("#e6e9ef", "#3a4150", ("#7b8598", "#6ea0ff", "#ff9166"), ("#171b23", "#6ea0ff"))


@dataclass(frozen=True)
class Picture:
    """One figure for both pages, PNG bytes.

    Args:
        light, dark: the PNGs.
        alt: the text that stands for it where it can't be seen.
        width: on the page, in CSS pixels; a dense screen has more than one dot in each.
    """

    light: bytes
    dark: bytes
    alt: str
    width: int


def picture(draw: Callable[[Figure, Palette], None], inches: tuple[float, float], alt: str) -> Picture:
    """What `draw` draws on an empty figure, with both palettes.

    Args:
        draw: gets the figure and the palette; its axes are dressed after it.
        inches: width and height; an inch is 110 CSS pixels.
    """
    light, dark = (_png(draw, inches, palette) for palette in (LIGHT, DARK))
    return Picture(light, dark, alt, round(inches[0] * CSS_PIXELS_AN_INCH))


def on_paper(png: bytes) -> bytes:
    """A transparent picture on white, for viewers that may be dark."""
    with Image.open(io.BytesIO(png)) as image:
        layer = image.convert("RGBA")
    target = io.BytesIO()
    Image.alpha_composite(Image.new("RGBA", layer.size, "#ffffff"), layer).convert("RGB").save(target, "PNG")
    return target.getvalue()


def legend(axes: Axes, palette: Palette, *, above: bool = False) -> None:
    """A legend without a frame, where the data leaves room, or in a line above it."""
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3} if above else {}
    axes.legend(frameon=False, fontsize=8, labelcolor=palette.ink, **place)


def logarithmic(axes: Axes, *, abscissa: bool = False) -> None:
    """A logarithmic ordinate, and abscissa if asked for, drawn after their data, that say 0.3 and not 3 × 10⁻¹."""
    if abscissa:
        axes.set_xscale("log")
        _say_plainly(axes.xaxis, axes.get_xlim())
    axes.set_yscale("log")
    _say_plainly(axes.yaxis, axes.get_ylim())


def _say_plainly(axis: Axis, limits: tuple[float, float]) -> None:
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    low, high = np.log10(limits)
    axis.set_major_formatter(plain)
    axis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    axis.set_minor_formatter(plain if high - low < 2 else NullFormatter())


def _png(draw: Callable[[Figure, Palette], None], inches: tuple[float, float], palette: Palette) -> bytes:
    # A figure of its own, without pyplot: no global state, no window, nothing to close.
    figure = Figure(figsize=inches, layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)
    draw(figure, palette)
    for axes in figure.axes:
        _dress(axes, palette)
    target = io.BytesIO()
    # matplotlib signs its files with its version.
    figure.savefig(target, format="png", dpi=DOTS_AN_INCH, metadata={"Software": None})
    return target.getvalue()


def _dress(axes: Axes, palette: Palette) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=palette.ink, which="both", length=0, labelsize=8)
    axes.xaxis.label.set_color(palette.ink)
    axes.yaxis.label.set_color(palette.ink)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(palette.faint)
    if axes.images:
        return
    for axis in (axes.xaxis, axes.yaxis):
        # Lines between named rows would only strike them out.
        if not isinstance(axis.get_major_locator(), FixedLocator):
            axis.grid(color=palette.faint, linewidth=0.6)
    axes.set_axisbelow(True)
