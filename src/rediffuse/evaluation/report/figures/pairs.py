"""Generated images above the training images nearest to them: the suspicious ones, to be looked at for copies."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rediffuse.charts import Palette, Picture, picture
from rediffuse.evaluation.extractors.classifier import Images

_GAP = 0.1  # between images, as a share of one


def suspicious_picture(
    generated: Images, nearest: Sequence[Images], ratios: NDArray[np.float64], *, among: int
) -> Picture:
    """Columns: a generated image, below it the training images nearest to it, above it the ratio of their distances.

    Args:
        generated: (M, C, H, W), C 1 or 3.
        nearest: for each generated image its nearest training images (k, C, H, W), the nearest first.
        ratios: (M,) distance to the nearest over the distance of that one to its own nearest.
        among: generated images there are; these are the ones with the lowest ratios.
    """
    count, rows = len(generated), 1 + max(map(len, nearest))

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        axes.set_axis_off()
        for column, (image, others) in enumerate(zip(generated, nearest, strict=True)):
            for row, each in enumerate([image, *others]):
                left, top = column, row + (0.25 if row else 0)
                axes.imshow(
                    _colours(each), extent=(left, left + 1 - _GAP, top + 1 - _GAP, top), interpolation="nearest"
                )  # fmt: skip
            middle = column + (1 - _GAP) / 2
            axes.text(middle, -0.06, f"{ratios[column]:.2f}", ha="center", fontsize=8, color=palette.ink)
        for top, words in ((0.5, "generated"), (1.75, "nearest\nin train")):
            axes.text(-0.12, top - _GAP / 2, words, ha="right", va="center", fontsize=8, color=palette.ink)
        axes.text(-0.12, -0.06, "ratio", ha="right", fontsize=8, color=palette.ink)
        axes.set_aspect("equal")
        axes.set_xlim(-1.15, count)
        axes.set_ylim(rows + 0.25, -0.4)

    width = 7.8
    height = width * (rows + 0.65) / (count + 1.15)
    alt = (
        f"The {count} of {among:,} generated images that are most like a training image, each with its ratio above it "
        "and the training images nearest to it below."
    )
    return picture(draw, (width, height), alt)


def _colours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """C×H×W as matplotlib shows it: H×W×3."""
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
