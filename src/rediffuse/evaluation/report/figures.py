"""The report's figures, drawn from its tables, and images in rows."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from rediffuse.charts import Palette, Picture, legend, logarithmic, picture
from rediffuse.evaluation.extractors.classifier import Images


def training_curves(training: pd.DataFrame, validation: pd.DataFrame) -> Picture:
    """Loss over steps and the learning rate below it.

    Args:
        training: columns step, loss, lr.
        validation: columns step, val_loss (raw weights), val_loss_ema (averaged weights).
    """

    def draw(figure: Figure, palette: Palette) -> None:
        losses, rate = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        thin, raw, averaged = palette.series
        losses.plot(training["step"], training["loss"], color=thin, linewidth=0.9, label="training")
        losses.plot(validation["step"], validation["val_loss"], "o-", color=raw, markersize=3, label="validation, raw")
        losses.plot(
            validation["step"], validation["val_loss_ema"], "o-", color=averaged, markersize=3, label="validation, EMA"
        )
        everything = pd.concat([training["loss"], validation["val_loss"], validation["val_loss_ema"]])
        if (everything > 0).all():
            logarithmic(losses)
        losses.set_ylabel("loss")
        legend(losses, palette)
        rate.plot(training["step"], training["lr"], color=raw)
        rate.set_ylabel("learning rate")
        rate.set_xlabel("optimizer step")

    return picture(draw, (7.2, 4.6), "Training and validation loss, and the learning rate, over the optimizer steps.")


def noise_level_curve(rows: pd.DataFrame) -> Picture:
    """Weighted loss and squared error of the denoised image over the noise level.

    Args:
        rows: columns noise_to_signal, loss (weighted), mse (of x0).
    """

    def draw(figure: Figure, palette: Palette) -> None:
        panels = figure.subplots(1, 2)
        for axes, column, colour in zip(panels, ("loss", "mse"), palette.series[1:], strict=True):
            axes.plot(rows["noise_to_signal"], rows[column], "o-", color=colour, markersize=3)
            axes.set_xscale("log")
            if (rows[column] > 0).all():
                logarithmic(axes)
            axes.set_xlabel("noise-to-signal ratio σ/α")
            axes.set_title({"loss": "weighted loss", "mse": "squared error of x₀"}[column], color=palette.ink)

    return picture(draw, (7.2, 3.0), "Validation loss and squared error over the noise level.")


def confusion_picture(confusion: NDArray[np.int64], names: Sequence[str]) -> Picture:
    """Which actual class (rows) is taken for which (columns), each row as shares of its sum."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = min(1.6 + 0.34 * len(names), 7.5)

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        axes.imshow(shares, vmin=0, vmax=1, cmap=LinearSegmentedColormap.from_list("share", palette.ramp))
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
        axes.grid(visible=False)
        # More numbers than this can't be read.
        if len(names) <= 16:
            for (row, column), count in np.ndenumerate(confusion):
                if count:
                    colour = palette.ramp[0] if shares[row, column] > 0.5 else palette.ink
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)

    return picture(draw, (side, side), "Confusion matrix of the classifier that was trained on generated images.")


def montage(rows: Sequence[Images], cell: int = 48) -> bytes:
    """Rows of images (columns, C, H, W), C 1 or 3, under each other on a transparent ground, as PNG.

    Each pixel is repeated a whole number of times until an image is about `cell` pixels high.
    """
    height = rows[0].shape[2]
    times = max(cell // height, 1)
    gap = 4
    strips = []
    for images in rows:
        colour = np.broadcast_to(images, (len(images), 3, *images.shape[2:])) if images.shape[1] == 1 else images
        opaque = np.concatenate([colour, np.full_like(colour[:, :1], 255)], axis=1)
        large = opaque.repeat(times, axis=2).repeat(times, axis=3)
        framed = np.pad(large, ((0, 0), (0, 0), (0, gap), (0, gap)))
        strips.append(np.concatenate(list(framed.transpose(0, 2, 3, 1)), axis=1))
    canvas = np.concatenate(strips, axis=0)[:-gap, :-gap]
    target = io.BytesIO()
    Image.fromarray(canvas, "RGBA").save(target, "PNG")
    return target.getvalue()
