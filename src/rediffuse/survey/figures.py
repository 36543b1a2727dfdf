"""The page's figures of counts: what became of the images, for which reasons, and the classes in each split."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from rediffuse.charts import Palette, Picture, legend, picture
from rediffuse.data.manifest import OVERLAP, SPLITS
from rediffuse.survey.words import percent, printable, shortened

_NODE = 0.012  # width of a bar of the flow, as a share of the figure's
_SLOT = 0.13  # height that a bar and its label take at least
_SCALE = 0.8  # height of the bar of all images


def flow(found: int, outcomes: Mapping[str, int], splits: Mapping[str, int]) -> Picture:
    """Bars joined by ribbons as wide as the images are many: found, what cleaning made of them, the splits.

    Args:
        found: images of the source, the sum of `outcomes`.
        outcomes: kept, quarantined, rejected.
        splits: the kept ones by split; their sum is `outcomes["kept"]`.
    """

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(0, 1.24)
        colours = _colours(palette)
        unit = _SCALE / max(found, 1)
        # The bars of a column stand below each other, the first at the top; a thin one still has room for its label.
        middle, right = _stacked(outcomes, unit), _stacked(splits, unit)
        low = min(0.0, 1 - _SCALE, *(top - max(_SLOT, count * unit) for top, count in (*middle, *right)))
        axes.set_ylim(low, 1.06)
        top = 1.0
        for (name, count), (target, _) in zip(outcomes.items(), middle, strict=True):
            _ribbon(axes, (_NODE, top), (0.5, target), count * unit, colours[name], bend=0.5)
            top -= count * unit
        top = middle[list(outcomes).index("kept")][0]
        for (name, count), (target, _) in zip(splits.items(), right, strict=True):
            # Bent late, beyond the labels of what is not kept.
            _ribbon(axes, (0.5 + _NODE, top), (1, target), count * unit, colours[name], bend=0.75)
            top -= count * unit
        _bar(axes, 0, 1, _SCALE, palette.ink)
        axes.text(0, 1.02, f"found  {found:,}", color=palette.ink, fontsize=10, weight="bold")
        for name, (at, count) in zip(outcomes, middle, strict=True):
            _bar(axes, 0.5, at, count * unit, colours[name])
            words = f"{name}  {count:,}  ({percent(count, found)})"
            if name == "kept":
                axes.text(0.5, at + 0.02, words, color=palette.ink, fontsize=10, weight="bold")
            else:
                axes.text(0.525, at, words, color=palette.ink, fontsize=9, va="center")
        for name, (at, count) in zip(splits, right, strict=True):
            _bar(axes, 1, at, count * unit, colours[name])
            words = f"{name}  {count:,}\n{percent(count, outcomes['kept'])} of the kept"
            centre = at - max(count * unit, 0) / 2 if count * unit > _SLOT else at
            axes.text(1.025, centre, words, color=palette.ink, fontsize=9, va="center")

    said = ", ".join(f"{count} {name}" for name, count in (*outcomes.items(), *splits.items()))
    return picture(draw, (7.6, 3.2), f"{found} images found: {said}.")


def reasons(outcomes: pd.DataFrame) -> Picture:
    """A bar for each reason: what it dropped, what it set aside, what it only marked.

    Args:
        outcomes: columns dropped, quarantined, marked; a row a reason, from the top.
    """
    ordered = outcomes[::-1]

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        left = np.zeros(len(ordered))
        shades = {"dropped": palette.series[2], "quarantined": palette.series[0], "marked": palette.series[1]}
        for name, colour in shades.items():
            if ordered[name].any():
                label = {"marked": "kept and marked"}.get(name, name)
                axes.barh(range(len(ordered)), ordered[name], left=left, color=colour, height=0.62, label=label)
                left += ordered[name]
        for at, total in enumerate(left):
            axes.annotate(
                f"{total:,.0f}", (total, at), (4, 0), textcoords="offset points", va="center", fontsize=8,
                color=palette.ink,
            )  # fmt: skip
        axes.set_yticks(range(len(ordered)), [str(name).replace("_", " ") for name in ordered.index])
        axes.set_xlabel("images")
        axes.margins(x=0.08)
        legend(axes, palette)

    said = ", ".join(f"{name} {int(row.sum())}" for name, row in outcomes.iterrows())
    return picture(draw, (7.2, 1.1 + 0.3 * len(ordered)), f"Images by reason: {said}.")


def classes(counts: pd.DataFrame, shown: Sequence[int]) -> Picture:
    """The share of each class in each split, and how many images that is.

    Args:
        counts: images by class (rows) and split (columns).
        shown: positions of the classes to draw, from the top.
    """
    shares = 100 * counts / counts.sum(axis=0).clip(lower=1)
    rows = counts.index[list(shown)]

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        colours = _colours(palette)
        at = np.arange(len(rows))[::-1]
        for offset, name in zip((0.27, 0, -0.27), SPLITS, strict=True):
            axes.barh(at + offset, shares[name].iloc[list(shown)], height=0.25, color=colours[name], label=name)
        names = [shortened(printable(str(name)), 28) for name in rows]
        for label, name in zip(axes.set_yticks(at, names), names, strict=True):
            # A name may hold dollars, and those are not mathematics.
            label.label1.set_parse_math(False)
            label.label1.set_text(name)
        for place, count in zip(at, counts.iloc[list(shown)].sum(axis=1), strict=True):
            axes.annotate(
                f"{count:,}", (1, place), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                va="center", fontsize=8, color=palette.ink,
            )  # fmt: skip
        axes.set_xlabel("share of the split, %; on the right the images in all")
        axes.set_ylim(-0.6, len(rows) - 0.4)
        legend(axes, palette, above=True)

    said = ", ".join(f"{name} {int(count)}" for name, count in counts.iloc[list(shown)].sum(axis=1).items())
    return picture(draw, (7.2, 1.0 + 0.34 * len(rows)), f"Images by class: {said}.")


def _colours(palette: Palette) -> dict[str, str]:
    """A colour for each outcome and each split; what goes on in one has the colour of where it comes from."""
    aside, blue, orange = palette.series
    return {
        "kept": blue, "quarantined": aside, "rejected": orange,
        "train": blue, "val": aside, "test": orange, OVERLAP: palette.faint,
    }  # fmt: skip


def _stacked(counts: Mapping[str, int], unit: float) -> list[tuple[float, int]]:
    """The top of each bar of a column, with its count."""
    tops, top = [], 1.0
    for count in counts.values():
        tops.append((top, count))
        top -= max(count * unit + 0.06, _SLOT)
    return tops


def _bar(axes: Axes, x: float, top: float, height: float, colour: str) -> None:
    drawn = max(height, 0.006)
    axes.add_patch(Rectangle((x, top - drawn), _NODE, drawn, facecolor=colour, linewidth=0))


def _ribbon(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], height: float, colour: str, *, bend: float
) -> None:
    (x0, y0), (x1, y1) = start, end
    half = x0 + bend * (x1 - x0)
    if not height:
        return
    corners = [
        (x0, y0), (half, y0), (half, y1), (x1, y1), (x1, y1 - height), (half, y1 - height), (half, y0 - height),
        (x0, y0 - height), (x0, y0),
    ]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    axes.add_patch(PathPatch(Path(corners, codes), facecolor=colour, alpha=0.35, linewidth=0))
