"""Where a model lies between real images and images that are bad on purpose, score by score."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator, SymmetricalLogLocator

from rediffuse.charts import Palette, Picture, picture
from rediffuse.evaluation.report.names import CONTROLS, GENERATED, REAL_TEST, Score, scores_in

_COLUMNS = 4
_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def scale_picture(fidelity: Mapping[str, float], controls: Mapping[str, Mapping[str, float]]) -> Picture:
    """A panel a score: generated images, real test images with their interval as a band, and the controls, a row each.

    Args:
        fidelity: the section of metrics/evaluate.json.
        controls: the section of metrics/evaluate.json.
    """
    scores = scores_in(dict(fidelity))
    sets: dict[str, Mapping[str, float]] = {
        GENERATED: fidelity,
        REAL_TEST: {
            f"{score.key}{end}": fidelity[f"{score.key}_floor{end}"]
            for score in scores
            for end in ("", "_low", "_high")
            if f"{score.key}_floor{end}" in fidelity
        },
        **{short: controls[name] for name, (short, _) in CONTROLS.items() if name in controls},
    }
    lines = -(-len(scores) // _COLUMNS)

    def draw(figure: Figure, palette: Palette) -> None:
        panels = figure.subplots(lines, _COLUMNS, sharey=True, squeeze=False)
        for place, axes in enumerate(panels.flat):
            if place >= len(scores):
                axes.set_axis_off()
                continue
            _panel(axes, palette, scores[place], sets)
            axes.tick_params(labelleft=place % _COLUMNS == 0)

    named = ", ".join(score.short for score in scores)
    return picture(
        draw,
        (7.8, 0.55 + lines * (0.55 + 0.19 * len(sets))),
        f"Dot plots of {named}: generated images, real test images and control images, with 95 % intervals.",
    )


def _panel(axes: Axes, palette: Palette, score: Score, sets: Mapping[str, Mapping[str, float]]) -> None:
    _, model, real = palette.series
    shown = []
    for row, (name, found) in enumerate(sets.items()):
        if score.key not in found:
            continue
        value = found[score.key]
        low, high = found.get(f"{score.key}_low", value), found.get(f"{score.key}_high", value)
        shown += [value, low, high]
        colour = {GENERATED: model, REAL_TEST: real}.get(name, palette.ink)
        if name == REAL_TEST:
            axes.axvspan(low, high, color=real, alpha=0.18, linewidth=0)
            axes.axvline(value, color=real, linewidth=0.9)
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([value], [row], "o", color=colour, markersize=5.5 if name == GENERATED else 4)
    axes.set_ylim(len(sets) - 0.4, -0.6)
    axes.set_yticks(range(len(sets)), list(sets))
    axes.set_title(f"{score.short} {'↓' if score.lower else '↑'}", color=palette.ink, fontsize=9)
    if score.lower:
        _spread_out(axes, np.array(shown))
    else:
        axes.set_xlim(-0.04, 1.04 * max(1.0, *shown))
        axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axes.xaxis.set_major_formatter(_PLAIN)


def _spread_out(axes: Axes, shown: np.ndarray) -> None:
    """A scale on which what is near to zero and what is far from it can both be seen."""
    if shown.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
    else:
        # Linear around zero, as far as values below it or intervals across it reach.
        reach = 10 ** np.ceil(np.log10(max(-shown.min(), 1e-9)))
        axes.set_xscale("symlog", linthresh=reach)
        ticks = SymmetricalLogLocator(base=10, linthresh=reach)
        ticks.set_params(numticks=4)
        axes.xaxis.set_major_locator(ticks)
    transform = axes.xaxis.get_transform()
    low, high = transform.transform(np.array([shown.min(), shown.max()]))
    room = 0.06 * (high - low)
    left, right = transform.inverted().transform(np.array([low - room, high + room]))
    axes.set_xlim(float(left), float(right))
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
