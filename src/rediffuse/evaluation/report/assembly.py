"""From the pieces of an evaluation to the report's contents: what stands where, and under which words."""

from typing import Any

import pandas as pd

from rediffuse.charts import Picture
from rediffuse.data.card import Card
from rediffuse.evaluation.extractors.classifier import Images
from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.memorisation.nearest import nearest
from rediffuse.evaluation.report.figures import confusion_picture, montage, noise_level_curve, training_curves
from rediffuse.evaluation.report.page import Report
from rediffuse.evaluation.report.readings import read_fidelity, read_likelihood, read_utility
from rediffuse.evaluation.utility.agreement import Agreement
from rediffuse.pages import number
from rediffuse.params import flatten

COPIES_SHOWN = 10
NEIGHBOURS_SHOWN = 3


def assemble(
    *,
    metrics: dict[str, Any],
    card: Card,
    params: dict[str, Any],
    grid: bytes,
    film: bytes,
    copies: bytes,
    training: pd.DataFrame,
    validation: pd.DataFrame,
    noise_levels: pd.DataFrame,
    agreement: Agreement | None,
) -> Report:
    """The report of one evaluation.

    Args:
        metrics: the content of metrics/evaluate.json.
        params: the tracked parameters, nested.
        grid, film, copies: PNG bytes; `copies` from `beside_nearest`.
        training, validation, noise_levels: tables of the curves, as `figures` reads them.
        agreement: of the classifier trained on generated images; None where there are no classes.
    """
    curves: dict[str, Picture] = {
        "Training": training_curves(training, validation),
        "Loss by noise level": noise_level_curve(noise_levels),
    }
    if agreement:
        curves["What the classifier trained on generated images mixes up"] = confusion_picture(
            agreement.confusion, card.classes
        )
    channels, height, width = card.shape
    kind = {1: "grey", 3: "RGB"}[channels]
    sample, model, diffusion = params["sample"], params["model"], params["diffusion"]
    return Report(
        title=f"{model['name']} · {diffusion['preset']} · {card.source}",
        subtitle=f"{metrics['n_samples']} images of {width} × {height} pixels ({kind}), "
        f"drawn with {sample['sampler']} in {sample['steps']} steps, guidance {sample['guidance']:g}.",
        scores=read_fidelity(metrics["fidelity"]),
        utility=read_utility(metrics["utility"]),
        likelihood=read_likelihood(metrics["likelihood"]),
        no_utility="" if agreement else metrics["protocol"]["utility"],
        grid=grid,
        film=film,
        neighbours=copies,
        curves=curves,
        per_class=metrics["utility"]["per_class"] if agreement else {},
        protocol={name: str(value) for name, value in metrics["protocol"].items()},
        card={
            "source": card.source,
            "images": str(card.count),
            "shape": f"{width} × {height}, {kind}",
            "classes": ", ".join(f"{name} ({card.class_counts[name]})" for name in card.classes) or "none",
            "mean and standard deviation on [-1, 1]": f"{number(card.mean)}, {number(card.std)}",
            "digest": card.digest,
        },
        params={name: str(value) for name, value in flatten(params).items()},
    )


def beside_nearest(images: Images, features: Features, real_images: Images, real_features: Features) -> bytes:
    """The first generated images, and below each the real training images nearest to it, as PNG."""
    shown = images[:COPIES_SHOWN]
    count = min(NEIGHBOURS_SHOWN, len(real_images))
    found = nearest(features[: len(shown)], real_features, count).indices
    return montage([shown, *(real_images[column] for column in found.T)])
