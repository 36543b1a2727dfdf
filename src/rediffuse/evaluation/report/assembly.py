"""From the pieces of an evaluation to the report's contents: what stands where, and under which words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rediffuse.charts import Picture
from rediffuse.data.card import Card
from rediffuse.evaluation.report.answers import read_attacks, read_copies, read_likelihood, read_utility
from rediffuse.evaluation.report.captions import captions, sweep_floor
from rediffuse.evaluation.report.cost import Cost
from rediffuse.evaluation.report.facts import (
    Identity,
    cost_facts,
    data_facts,
    digest_facts,
    environment_facts,
    made_by,
    model_facts,
    protocol_facts,
    shape_text,
)
from rediffuse.evaluation.report.figures.classes import by_class_picture, confusion_picture
from rediffuse.evaluation.report.figures.curves import (
    evaluations_curve,
    guidance_curve,
    noise_level_curve,
    training_curves,
)
from rediffuse.evaluation.report.figures.gain import gain_picture
from rediffuse.evaluation.report.figures.scale import scale_picture
from rediffuse.evaluation.report.page import Report
from rediffuse.evaluation.report.readings import notes, read_fidelity
from rediffuse.evaluation.report.tables import class_table, controls_table, extractors_table, gain_table
from rediffuse.evaluation.report.verdicts import read_verdicts
from rediffuse.params import flatten


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """What the stages made beside the scores.

    Args:
        grid, film: PNG bytes; raw_grid: of the raw weights, None where there are none.
        suspicious: of `suspicious_picture`.
        training, validation, noise_levels: tables, as `figures.curves` reads them.
        suspicious_count: images in its first row.
        guidance, evaluations: of the stage sweep; empty where nothing was asked of it; sweep_protocol: how it scored.
        confusion: counts (actual, predicted) of the classifier trained on generated images; None without classes.
        cost: of the model.
        identity: digests of model and code.
        environment: as `provenance.environment` knows it.
    """

    grid: bytes
    raw_grid: bytes | None
    film: bytes
    suspicious: Picture
    suspicious_count: int
    training: pd.DataFrame
    validation: pd.DataFrame
    noise_levels: pd.DataFrame
    guidance: pd.DataFrame
    evaluations: pd.DataFrame
    sweep_protocol: Mapping[str, Any]
    confusion: NDArray[np.int64] | None
    cost: Cost
    identity: Identity
    environment: Mapping[str, str]


def assemble(metrics: dict[str, Any], card: Card, params: dict[str, Any], made: Made) -> Report:
    """The report of one evaluation.

    Args:
        metrics: the content of metrics/evaluate.json.
        params: the tracked parameters, nested.
    """
    repeats = params["reference"]["repeats"]
    sample, fidelity, utility = params["sample"], metrics["fidelity"], metrics["utility"]
    protocol = metrics["protocol"]
    extractor = str(params["reference"]["extractors"][0])
    return Report(
        title=title_of(card, params),
        subtitle=f"{metrics['n_samples']:,} images of {shape_text(card).replace(', ', ' pixels (')}), drawn with "
        f"{sample['sampler']} in {sample['steps']} steps, guidance {sample['guidance']:g}.",
        verdicts=read_verdicts(metrics.get("verdicts")),
        grid=made.grid,
        raw_grid=made.raw_grid,
        film=made.film,
        fidelity=read_fidelity(fidelity, metrics.get("controls")),
        notes=notes(fidelity, images=protocol["fidelity"]["images"], generated=metrics["n_samples"]),
        controls=controls_table(fidelity, metrics.get("controls")),
        extractors=extractors_table(extractor, fidelity, metrics.get("by_extractor")),
        by_class=class_table(fidelity, utility, card.classes),
        utility=read_utility(utility, repeats=repeats),
        no_utility="" if utility else protocol["utility"],
        gain=gain_table(utility),
        copies=read_copies(metrics.get("memorisation")),
        attacks=read_attacks(metrics.get("memorisation")),
        likelihood=read_likelihood(metrics["likelihood"]),
        figures=_figures(metrics, card.classes, float(sample["guidance"]), made),
        captions=captions(
            metrics,
            made.sweep_protocol,
            made.guidance,
            classes=len(card.classes),
            suspicious=made.suspicious_count,
        ),
        model=model_facts(params),
        cost=cost_facts(made.cost),
        data=data_facts(card),
        protocol=protocol_facts(protocol | ({"sweep": made.sweep_protocol} if made.sweep_protocol else {})),
        environment=environment_facts(made.environment),
        digests=digest_facts(card, made.identity, protocol),
        params={name: str(value) for name, value in flatten(params).items()},
        made_by=made_by(made.identity.model_md5),
    )


def title_of(card: Card, params: dict[str, Any]) -> str:
    """What the model is, in a line."""
    return f"{params['model']['name']} · {params['diffusion']['preset']} · {card.source}"


def _figures(metrics: dict[str, Any], classes: Sequence[str], guidance: float, made: Made) -> dict[str, Picture]:
    fidelity, utility = metrics["fidelity"], metrics["utility"] or {}
    floor = sweep_floor(metrics, made.sweep_protocol)
    figures = {"training": training_curves(made.training, made.validation)}
    figures["noise_levels"] = noise_level_curve(made.noise_levels)
    figures["suspicious"] = made.suspicious
    if controls := metrics.get("controls"):
        figures["scale"] = scale_picture(fidelity, controls)
    if by_class := fidelity.get("by_class"):
        figures["by_class"] = by_class_picture(by_class, fidelity.get("labels", {}).get("by_class", {}), classes)
    if made.confusion is not None:
        figures["confusion"] = confusion_picture(made.confusion, classes)
    if augmentation := utility.get("augmentation"):
        figures["gain"] = gain_picture(augmentation)
    if len(made.guidance):
        figures["guidance"] = guidance_curve(made.guidance, guidance, floor)
    if len(made.evaluations):
        figures["evaluations"] = evaluations_curve(made.evaluations, floor)
    return figures
