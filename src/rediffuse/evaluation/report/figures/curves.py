"""Curves: training, loss by noise level, and scores over what sampling costs or is asked for."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rediffuse.charts import Palette, Picture, legend, logarithmic, picture


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

    return picture(draw, (7.8, 4.4), "Training and validation loss, and the learning rate, over the optimizer steps.")


def noise_level_curve(rows: pd.DataFrame) -> Picture:
    """Weighted loss and squared error of the denoised image over the noise level.

    Args:
        rows: columns noise_to_signal, loss (weighted), mse (of x0) of the averaged weights; where it has them, loss_raw
            and mse_raw of the raw ones, loss_baseline and mse_baseline of what knows only mean and variance.
    """

    def draw(figure: Figure, palette: Palette) -> None:
        panels = figure.subplots(1, 2)
        faint, raw, averaged = palette.series
        for axes, quantity in zip(panels, ("loss", "mse"), strict=True):
            columns = [f"{quantity}{suffix}" for suffix in ("_baseline", "_raw", "") if f"{quantity}{suffix}" in rows]
            for column in columns:
                colour, style, words = {
                    "_baseline": (faint, "--", "mean and variance alone"),
                    "_raw": (raw, "o-", "raw weights"),
                    "": (averaged, "o-", "averaged weights"),
                }[column.removeprefix(quantity)]
                axes.plot(rows["noise_to_signal"], rows[column], style, color=colour, markersize=3, label=words)
            if (rows[columns] > 0).all(axis=None):
                logarithmic(axes, abscissa=True)
            else:
                axes.set_xscale("log")
            axes.set_xlabel("noise-to-signal ratio σ/α")
            axes.set_title(
                {"loss": "weighted loss", "mse": "squared error of x₀"}[quantity], color=palette.ink, fontsize=9
            )
        if len(columns) > 1:
            legend(panels[1], palette)

    return picture(draw, (7.8, 3.2), "Validation loss and squared error over the noise level.")


ACCURACIES = {"cas_accuracy": "CAS", "cas_val_accuracy": "CAS, validation", "gan_test_accuracy": "GAN-test"}
"""Columns of accuracies that a table of guidance scales may hold, and their words in a legend."""


def accuracies_in(rows: pd.DataFrame) -> list[str]:
    """Which of ACCURACIES a table holds."""
    return [name for name in ACCURACIES if name in rows and rows[name].notna().any()]


def guidance_curve(rows: pd.DataFrame, used: float, floor: Mapping[str, float] | None = None) -> Picture:
    """Scores over the guidance scale.

    Args:
        rows: columns guidance, fd, precision, recall and, where there are classes, some of ACCURACIES; of each, where
            it is known, its interval as _low and _high.
        used: the guidance scale of the samples.
        floor: fd_floor, fd_floor_low and fd_floor_high of as many real test images; None where there are none.
    """
    rows = rows.sort_values("guidance")
    groups = [("FD ↓", ["fd"]), ("shares ↑", ["precision", "recall"])]
    if accuracies := accuracies_in(rows):
        groups.append(("accuracy ↑", accuracies))

    def draw(figure: Figure, palette: Palette) -> None:
        for axes, (title, columns) in zip(figure.subplots(1, len(groups)), groups, strict=True):
            for column, colour in zip(columns, palette.series[1:], strict=False):
                words = ACCURACIES.get(column, column)
                axes.plot(rows["guidance"], rows[column], "o-", color=colour, markersize=3.5, label=words)
                if f"{column}_low" in rows:
                    low, high = rows[f"{column}_low"], rows[f"{column}_high"]
                    axes.fill_between(rows["guidance"], low, high, color=colour, alpha=0.18, linewidth=0)
            axes.axvline(used, color=palette.series[0], linewidth=0.9, linestyle="--")
            if columns == ["fd"]:
                _floor(axes, palette, floor)
            axes.set_title(title, color=palette.ink, fontsize=9)
            axes.set_xlabel("guidance scale")
            if axes.get_legend_handles_labels()[1] != ["fd"]:
                legend(axes, palette)

    return picture(draw, (7.8, 2.8), "Fréchet distance, precision and recall, and accuracies over the guidance scale.")


def _floor(axes: Axes, palette: Palette, floor: Mapping[str, float] | None) -> None:
    """The FD of real test images as a line, and its interval as a band."""
    if floor:
        axes.axhspan(floor["fd_floor_low"], floor["fd_floor_high"], color=palette.ink, alpha=0.1, linewidth=0)
        axes.axhline(floor["fd_floor"], color=palette.ink, linewidth=0.9, label="real test")


def evaluations_curve(rows: pd.DataFrame, floor: Mapping[str, float] | None = None) -> Picture:
    """FD over the evaluations of the network an image takes, a line a sampler.

    Args:
        rows: columns sampler, steps, evaluations, fd, fd_low, fd_high.
        floor: as `guidance_curve` takes it.
    """

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        grey, *bright = palette.series
        for place, (name, each) in enumerate(rows.groupby("sampler", sort=True)):
            colour = (*bright, grey)[place % 3]
            each = each.sort_values("evaluations")
            axes.plot(
                each["evaluations"], each["fd"], f"o{('-', '--', ':')[place // 3]}", color=colour, markersize=3.5,
                label=str(name),
            )  # fmt: skip
            axes.fill_between(
                each["evaluations"], each["fd_low"], each["fd_high"], color=colour, alpha=0.15, linewidth=0
            )
        _floor(axes, palette, floor)
        if (rows[["fd", "fd_low"]] > 0).all(axis=None) and (not floor or floor["fd_floor_low"] > 0):
            logarithmic(axes, abscissa=True)
        else:
            axes.set_xscale("log")
        axes.set_xlabel("evaluations of the network an image")
        axes.set_ylabel("FD")
        legend(axes, palette)

    return picture(draw, (6.4, 3.2), "Fréchet distance over the evaluations of the network an image takes, by sampler.")
