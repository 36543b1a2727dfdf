"""What differs from class to class: distance, recall and shares, and which class is taken for which."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rediffuse.charts import Palette, Picture, picture
from rediffuse.evaluation.report.figures.words import labels

MOST = 25
"""Classes in a figure; of more, those with the greatest distance."""
_NUMBERS = 16  # classes up to which a cell of the confusion matrix can hold a number
_NAMES = 40  # and up to which each has its name beside it


def by_class_picture(
    by_class: Mapping[str, Mapping[str, float]],
    shares: Mapping[str, Mapping[str, float]],
    classes: Sequence[str],
) -> Picture:
    """FD and recall of each class beside those of real images, and the shares of the classes asked for and seen.

    Args:
        by_class, shares: `fidelity.by_class` and `fidelity.labels.by_class` of metrics/evaluate.json.
        classes: their names, in order.
    """
    shown = _shown(by_class, classes)
    chosen = "" if len(shown) == len(classes) else f" of the {len(shown)} classes farthest from real, of {len(classes)}"

    def draw(figure: Figure, palette: Palette) -> None:
        distance, recall, share = figure.subplots(1, 3, sharey=True)
        faint, model, real = palette.series
        for axes, name in ((distance, "fd"), (recall, "recall")):
            for row, each in enumerate(shown):
                _whisker(axes, row, by_class.get(each, {}), name, model)
                _whisker(axes, row + 0.28, by_class.get(each, {}), f"{name}_floor", real, filled=False)
        for row, each in enumerate(shown):
            found = shares.get(each, {})
            if found:
                share.plot([found["asked"]] * 2, [row - 0.32, row + 0.32], color=real, linewidth=1.4)
                share.plot([found["asked"], found["seen"]], [row, row], color=model, linewidth=1.2)
                share.plot([found["seen"]], [row], "o", color=model, markersize=4.5)
                share.plot([found["real"]], [row], "d", color=faint, markersize=4, markerfacecolor="none")
        distance.set_yticks(range(len(shown)), labels(shown), parse_math=False)
        distance.set_ylim(len(shown) - 0.4, -0.6)
        distance.set_title("FD ↓", color=palette.ink, fontsize=9)
        recall.set_title("recall ↑", color=palette.ink, fontsize=9)
        recall.set_xlim(-0.04, 1.04)
        share.set_title("share of the images", color=palette.ink, fontsize=9)
        for axes in (distance, share):
            # Without any class large enough, or any share, there is nothing to fit.
            axes.set_xlim(0, 1.05 * axes.dataLim.xmax if np.isfinite(axes.dataLim.xmax) else 1)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        for axes in (recall, share):
            axes.tick_params(labelleft=False)
        distance.plot([], [], "o", color=model, markersize=4.5, label="generated")
        distance.plot([], [], "o", color=real, markersize=4.5, markerfacecolor="none", label="real test")
        share.plot([], [], color=real, label="asked for")
        share.plot([], [], "o", color=model, markersize=4.5, label="seen")
        share.plot([], [], "d", color=faint, markersize=4, markerfacecolor="none", label="of train")
        below = -0.03 - 0.6 / len(shown)
        for axes in (distance, share):
            axes.legend(
                frameon=False, fontsize=8, labelcolor=palette.ink, loc="upper left", bbox_to_anchor=(0, below), ncols=3,
                handletextpad=0.2, columnspacing=0.8,
            )  # fmt: skip

    alt = f"Fréchet distance, recall and share of the images by class{chosen}, with 95 % intervals."
    return picture(draw, (7.8, 1.1 + 0.2 * len(shown)), alt)


def _shown(by_class: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> list[str]:
    """All classes, or of many those that are the most times as far as real images are, in order."""
    if len(classes) <= MOST:
        return list(classes)

    def times(name: str) -> float:
        found = by_class.get(name, {})
        return found["fd"] / found["fd_floor"] if found.get("fd_floor") and "fd" in found else -np.inf

    chosen = set(sorted(classes, key=times, reverse=True)[:MOST])
    return [name for name in classes if name in chosen]


def _whisker(axes: Axes, row: float, found: Mapping[str, Any], name: str, colour: str, *, filled: bool = True) -> None:
    if name in found:
        low, high = found.get(f"{name}_low", found[name]), found.get(f"{name}_high", found[name])
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([found[name]], [row], "o", color=colour, markersize=4.5, markerfacecolor=colour if filled else "none")


def confusion_picture(confusion: NDArray[np.int64], names: Sequence[str]) -> Picture:
    """Which actual class (rows) is taken for which (columns), each row as shares of its sum."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    count = len(names)
    side = float(np.clip(1.6 + 0.34 * count, 2.6, 7.8))
    step = -(-count // _NAMES)
    ticks = range(0, count, step)
    shown = labels([names[place] for place in ticks])

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        axes.imshow(shares, vmin=0, vmax=1, cmap=LinearSegmentedColormap.from_list("share", palette.ramp))
        axes.set_xticks(ticks, shown, rotation=90 if max(map(len, shown)) > 2 else 0, parse_math=False)
        axes.set_yticks(ticks, shown, parse_math=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
        axes.grid(visible=False)
        if count <= _NUMBERS:
            for (row, column), times in np.ndenumerate(confusion):
                if times:
                    colour = palette.ramp[0] if shares[row, column] > 0.5 else palette.ink
                    axes.text(column, row, str(times), ha="center", va="center", fontsize=8, color=colour)

    return picture(draw, (side, side), "Confusion matrix of the classifier that was trained on generated images.")
