"""What stands below the figures: of which images they are, how many, and what they leave out."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rediffuse.evaluation.report.figures.curves import accuracies_in
from rediffuse.pictures import ROWS

_FILM = 10  # classes of the film


def captions(
    metrics: Mapping[str, Any], sweep: Mapping[str, Any], guidance: pd.DataFrame, *, classes: int, suspicious: int
) -> dict[str, str]:
    """By the name of the figure; and by "suspects" the heading of those pairs.

    Args:
        metrics: the content of metrics/evaluate.json.
        sweep: the protocol of metrics/sweep.json; empty where nothing was swept.
        guidance: its table of guidance scales.
        classes: how many the data has.
        suspicious: pairs in the figure of that name.
    """
    utility = metrics["protocol"]["utility"]
    repeats = utility["repeats"] if isinstance(utility, Mapping) else 1
    which = f" of the first of the {repeats} trainings" if repeats > 1 else ""
    return {
        "grid": _cut(classes, ROWS),
        "film": _cut(classes, _FILM),
        "suspects": f"The {suspicious} of {metrics['n_samples']:,} generated images most like a training image",
        "suspicious": f"The {suspicious} of {metrics['n_samples']:,} most like a training image. Above each its ratio: "
        "its distance to the training image nearest to it over that one's distance to its own nearest. Below each the "
        "training images nearest to it. Alike is good, the same is a copy.",
        "confusion": f"Counts of real test images by the classifier{which}; colour: shares of each row.",
        "noise_levels": "On the validation images.",
        **(_curves(metrics, sweep, guidance) if sweep else {}),
    }


def sweep_floor(metrics: Mapping[str, Any], sweep: Mapping[str, Any]) -> Mapping[str, float] | None:
    """The floor of the FD, where it is of as many images as the points of the sweep."""
    return metrics["fidelity"] if sweep and sweep["images"] == metrics["protocol"]["fidelity"]["images"] else None


def _cut(classes: int, most: int) -> str:
    return f" Of {classes:,} classes the first {most}." if classes > most else ""


def _curves(metrics: Mapping[str, Any], sweep: Mapping[str, Any], guidance: pd.DataFrame) -> dict[str, str]:
    """Of the sweep's curves."""
    points = f"Each point: {sweep['count']:,} images, scored at n = {sweep['images']:,}."
    floor = (
        "Level: as many real test images; its band and the others: 95 % intervals."
        if sweep_floor(metrics, sweep)
        else "The bands: 95 % intervals. The floor of the FD above is of another n, so it is left out."
    )
    shown = accuracies_in(guidance)
    trained = {
        "cas_accuracy": " CAS: a classifier trained on these images, on real test images.",
        "cas_val_accuracy": " CAS: a classifier trained on these images, on real validation images.",
    }
    cas = "".join(words for name, words in trained.items() if name in shown)
    return {
        "guidance": f"{points} Dashed: the scale of the samples above. {floor}{cas}",
        "evaluations": f"{points} Each sampler on its own grid. {floor}",
    }
