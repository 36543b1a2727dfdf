"""The page's figures of measurements: how large the images are, and their brightness, contrast and entropy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from rediffuse.charts import Palette, Picture, legend, logarithmic, picture
from rediffuse.data.manifest import SPLITS

_SIZES_DRAWN = 1500  # different sizes; of more, neighbours share a point
_BINS = 32


def dimensions(kept: pd.DataFrame, others: Sequence[tuple[int, int]], target: tuple[int, int]) -> Picture:
    """Width and height of the images, one point a size, larger where there are more.

    Args:
        kept: columns width and height.
        others: width and height of some images that are not kept.
        target: width and height of every example.
    """
    series = {
        "kept": kept[["width", "height"]].to_numpy(dtype=np.int64),
        "not kept": np.array(others, dtype=np.int64).reshape(-1, 2),
    }

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        for name, sizes in series.items():
            if not len(sizes):
                continue
            points, counts = _points(sizes)
            share = np.log1p(counts) / np.log1p(counts.max())
            x, y, areas, label = points[:, 0], points[:, 1], 14 + 130 * share, f"{name} ({len(sizes):,})"
            if name == "kept":
                axes.scatter(x, y, areas, palette.series[1], alpha=0.3 + 0.5 * share, linewidths=0, label=label)
            else:
                # Rings, so that they show where something else is, and let it show.
                axes.scatter(x, y, areas, facecolors="none", edgecolors=palette.series[2], label=label)
        axes.scatter(
            *target, s=190, marker="s", facecolors="none", edgecolors=palette.ink, linewidths=1.2,
            label=f"as trained, {target[0]} × {target[1]}",
        )  # fmt: skip
        everything = np.concatenate([*series.values(), [target]])
        low, high = everything.min(axis=0) / 1.6, everything.max(axis=0) * 1.6
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        logarithmic(axes, abscissa=True)
        axes.set_xlabel("width, pixels")
        axes.set_ylabel("height, pixels")
        # Marks of one size in the legend, whatever the counts.
        for handle in axes.legend(frameon=False, fontsize=8, labelcolor=palette.ink).legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([40])

    return picture(draw, (6.4, 4.0), "Width and height of the images, on logarithmic axes.")


def quality(kept: pd.DataFrame) -> Picture:
    """Brightness, contrast and entropy of the grey levels, a line a split.

    Args:
        kept: columns brightness (0 to 255), contrast (0 to 127.5), entropy (bits, 0 to 8) and split.
    """
    ends = {"brightness": 255.0, "contrast": 127.5, "entropy": 8.0}
    titles = {"brightness": "mean level", "contrast": "standard deviation", "entropy": "entropy, bits"}

    def draw(figure: Figure, palette: Palette) -> None:
        panels = figure.subplots(1, 3)
        colours = dict(zip(SPLITS, (palette.series[1], palette.series[0], palette.series[2]), strict=True))
        for axes, (name, end) in zip(panels, ends.items(), strict=True):
            edges = np.linspace(0, end, _BINS + 1)
            for split, colour in colours.items():
                values = kept.loc[(kept["split"] == split).to_numpy(dtype=bool), name].to_numpy(dtype=np.float64)
                counts, _ = np.histogram(np.minimum(values, end), edges)
                axes.stairs(100 * counts / max(len(values), 1), edges, color=colour, linewidth=1.3, label=split)
            axes.set_title(titles[name], color=palette.ink, fontsize=9)
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel("share of the split, %")
        legend(panels[0], palette)

    return picture(draw, (7.6, 2.6), "Brightness, contrast and entropy of the images in train, val and test.")


def _points(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different sizes and how many images have each; where there are too many, sizes within 3 % are one."""
    points, counts = np.unique(sizes, axis=0, return_counts=True)
    if len(points) > _SIZES_DRAWN:
        cells, place = np.unique(np.round(16 * np.log2(points)), axis=0, return_inverse=True)
        points, counts = 2 ** (cells / 16), np.bincount(place.ravel(), weights=counts)
    return points, counts
