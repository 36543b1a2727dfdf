"""evaluate: score the samples against the real images, and write the report."""

from typing import Any

import numpy as np
import pandas as pd

from rediffuse import files, memory, runtime
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.evaluation.extractors.features import extract
from rediffuse.evaluation.fidelity.protocol import FidelitySettings, least_images
from rediffuse.evaluation.likelihood import LikelihoodSettings, describe_likelihood, likelihood_metrics
from rediffuse.evaluation.reference import read_reference
from rediffuse.evaluation.report.assembly import assemble, beside_nearest
from rediffuse.evaluation.report.page import render
from rediffuse.evaluation.samples import read_samples
from rediffuse.evaluation.scoring import RealImages, score
from rediffuse.evaluation.utility.confusion import confusion_table
from rediffuse.evaluation.utility.recipe import Recipe
from rediffuse.evaluation.verdicts import check_verdicts, judge
from rediffuse.model import load_model
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.tables import rounded, write_table
from rediffuse.training.validation import loss_by_noise_level
from rediffuse.workspace import Workspace


@memory.advised("use fewer evaluate.manifold_points, evaluate.likelihood.images or a smaller evaluate.kid_subset_size")
def evaluate(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Score distribution, use to a classifier, likelihood, and loss by noise level.

    Writes metrics/evaluate.json, plots/confusion.csv, plots/loss_by_noise_level.csv and reports/report.html.
    """
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    train, val, test = (load_split(workspace, name) for name in ("train", "val", "test"))
    reference = read_reference(workspace.reference, device)
    samples = read_samples(
        workspace.sampled_images, workspace.sampled_labels, card.shape, least=least_images(params.evaluate.neighbours)
    )
    generated = extract(reference.classifier, samples.images)

    scores = score(
        samples,
        generated,
        RealImages(train=train, val=val, test=test, classes=card.classes),
        reference,
        settings=FidelitySettings(
            seed=params.seed,
            **params.evaluate.model_dump(include={"neighbours", "manifold_points", "kid_subsets", "kid_subset_size"}),
        ),
        recipe=Recipe(**params.reference.model_dump(include={"steps", "batch_size", "lr"})),
        device=device,
    )
    model = load_model(workspace.denoiser, device)
    noise_levels = pd.DataFrame(
        loss_by_noise_level(
            model.denoiser,
            model.loss,
            model.noise_levels,
            val.images,
            val.labels if card.classes else None,
            levels=params.evaluate.noise_levels,
            seed=params.seed,
            device=device,
        )
    )

    likelihood = LikelihoodSettings(seed=params.seed, **params.evaluate.likelihood.model_dump())
    metrics: dict[str, Any] = rounded(
        {
            **scores.metrics,
            "likelihood": likelihood_metrics(model, test, likelihood, device),
            "protocol": {**scores.metrics["protocol"], "likelihood": describe_likelihood(likelihood, card.shape)},
        }
    )
    metrics["verdicts"] = judge(metrics, params.evaluate.verdicts.model_dump())
    confusion = scores.agreement.confusion if scores.agreement else np.zeros((0, 0), np.int64)
    write_table(workspace.plot("loss_by_noise_level"), noise_levels)
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
        agreement=scores.agreement,
    )
    files.write_bytes(workspace.report, render(report).encode())
    files.write_json(workspace.metrics("evaluate"), metrics)
    # With everything written: what failed is there to be looked at.
    check_verdicts(metrics["verdicts"], params.evaluate.fail_on)
    return metrics


if __name__ == "__main__":
    run_stage(evaluate)
