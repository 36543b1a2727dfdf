"""What generated images add to few or many real ones."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from rediffuse.charts import Palette, Picture, picture
from rediffuse.evaluation.report.names import by_count


def gain_picture(augmentation: Mapping[str, Mapping[str, float]]) -> Picture:
    """The gain of accuracy by adding generated images to so many real ones, a row a number, with its 95 % interval.

    Args:
        augmentation: `utility.augmentation` of metrics/evaluate.json: number of real images (or "all") -> scores.
    """
    counts = by_count(augmentation)

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=palette.ink, linewidth=0.9)
        for row, name in enumerate(counts):
            found = augmentation[name]
            low, high = found.get("gain_low", found["gain"]), found.get("gain_high", found["gain"])
            axes.plot(
                [100 * low, 100 * high], [row, row], color=palette.series[1], linewidth=1.8, solid_capstyle="butt"
            )
            axes.plot([100 * found["gain"]], [row], "o", color=palette.series[1], markersize=6)
        axes.set_yticks(range(len(counts)), [f"{name} real" for name in counts])
        axes.set_ylim(len(counts) - 0.4, -0.6)
        axes.set_xlabel("points of accuracy gained on real test images by adding generated ones")

    alt = "Accuracy gained by adding generated images to real ones, by the number of real ones, with 95 % intervals."
    return picture(draw, (6.4, 0.75 + 0.32 * len(counts)), alt)
