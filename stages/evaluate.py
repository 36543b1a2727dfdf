"""evaluate: score the samples against the real images, and write the report."""

from typing import Any

import numpy as np
import pandas as pd

from rediffuse import files, runtime
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.evaluation.assembly import assemble, beside_nearest
from rediffuse.evaluation.classifier import Recipe
from rediffuse.evaluation.features import classify, extract
from rediffuse.evaluation.protocol import FidelitySettings, score_fidelity
from rediffuse.evaluation.reference import read_reference
from rediffuse.evaluation.report import render
from rediffuse.evaluation.rounding import rounded
from rediffuse.evaluation.samples import read_samples
from rediffuse.evaluation.tables import confusion_table, write_table
from rediffuse.evaluation.utility import Agreement, classification_score, utility_metrics
from rediffuse.model import load_model
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.training.validation import loss_by_noise_level
from rediffuse.workspace import Workspace


def evaluate(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Score distribution, use to a classifier, and loss by noise level.

    Writes metrics/evaluate.json, plots/confusion.csv, plots/loss_by_noise_level.csv and reports/report.html.
    """
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    classes = len(card.classes)
    train, val, test = (load_split(workspace, name) for name in ("train", "val", "test"))
    reference = read_reference(workspace.reference, device)
    samples = read_samples(
        workspace.sampled_images, workspace.sampled_labels, card.shape, least=max(params.evaluate.neighbours + 1, 2)
    )
    generated = extract(reference.classifier, samples.images)

    fidelity = score_fidelity(
        reference.features["train"],
        reference.features["test"],
        generated,
        FidelitySettings(**params.evaluate.model_dump(exclude={"noise_levels"}), seed=params.seed),
    )
    protocol: dict[str, Any] = {
        "images": fidelity.images,
        "folds": fidelity.folds,
        "reference": f"train ({len(train)} images)",
        "floor": f"test ({len(test)} images)",
        "extractor": reference.digest,
        "seed": params.seed,
        **params.evaluate.model_dump(exclude={"noise_levels"}),
    }
    utility, cas = None, None
    if classes:
        cas = classification_score(
            samples.images,
            samples.labels,
            pairs=len(train),
            validation=(val.images, val.labels),
            test=(test.images, test.labels),
            shape=reference.classifier.shape,
            recipe=Recipe(**params.reference.model_dump(include={"steps", "batch_size", "lr"})),
            seed=params.seed,
            device=device,
        )
        seen = classify(reference.classifier, generated)
        known = classify(reference.classifier, reference.features["test"])
        utility = utility_metrics(
            gan_test=Agreement.of(samples.labels, seen, classes),
            score=cas,
            real=Agreement.of(test.labels, known, classes),
            names=card.classes,
        )
        protocol["cas_pairs"] = cas.trained_on
    else:
        protocol["utility"] = "none: the data has no classes"

    model = load_model(workspace.denoiser, device)
    noise_levels = pd.DataFrame(
        loss_by_noise_level(
            model.denoiser,
            model.loss,
            model.noise_levels,
            val.images,
            val.labels if classes else None,
            levels=params.evaluate.noise_levels,
            seed=params.seed,
            device=device,
        )
    )
    metrics: dict[str, Any] = rounded(
        {"fidelity": fidelity.scores, "utility": utility, "n_samples": len(samples.images), "protocol": protocol}
    )
    write_table(workspace.plot("loss_by_noise_level"), noise_levels)
    confusion = cas.test.confusion if cas else np.zeros((0, 0), np.int64)
    write_table(workspace.plot("confusion"), confusion_table(confusion, card.classes))
    report = assemble(
        metrics=metrics,
        card=card,
        params=params.tracked(),
        grid=workspace.grid.read_bytes(),
        film=workspace.film.read_bytes(),
        copies=beside_nearest(samples.images, generated, train.images, reference.features["train"]),
        training=pd.read_csv(workspace.plot("training")),
        validation=pd.read_csv(workspace.plot("validation")),
        noise_levels=noise_levels,
        agreement=cas.test if cas else None,
    )
    files.write_bytes(workspace.report, render(report).encode())
    files.write_json(workspace.metrics("evaluate"), metrics)
    return metrics


if __name__ == "__main__":
    run_stage(evaluate)
