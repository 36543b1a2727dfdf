"""evaluate: score the samples against the real images, and write the report."""

from typing import Any

import numpy as np
import pandas as pd

from rediffuse import files, memory, runtime
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.evaluation.baseline import PixelStatistics
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.fidelity.settings import FidelitySettings, least_images
from rediffuse.evaluation.likelihood import LikelihoodSettings, describe_likelihood, likelihood_metrics
from rediffuse.evaluation.memorisation.audit import memorisation_metrics
from rediffuse.evaluation.memorisation.losses import Attacked
from rediffuse.evaluation.memorisation.settings import MemorisationSettings
from rediffuse.evaluation.reference import JUDGE, read_reference
from rediffuse.evaluation.report.assembly import assemble, beside_nearest
from rediffuse.evaluation.report.page import render
from rediffuse.evaluation.samples import read_samples
from rediffuse.evaluation.scoring import RealImages, score
from rediffuse.evaluation.utility.confusion import confusion_table
from rediffuse.evaluation.utility.real_trainings import read_real_trainings
from rediffuse.evaluation.utility.settings import UtilitySettings
from rediffuse.model import load_model
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.tables import rounded, write_table
from rediffuse.training.validation import loss_by_noise_level
from rediffuse.workspace import Workspace


@memory.advised("use fewer evaluate.manifold_points, evaluate.likelihood.images or a smaller evaluate.kid_subset_size")
def evaluate(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Score distribution, use to a classifier, memorisation, likelihood, and loss by noise level.

    Writes metrics/evaluate.json, plots/confusion.csv, plots/loss_by_noise_level.csv, plots/nearest.csv and
    reports/report.html.
    """
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    train, val, test = (load_split(workspace, name) for name in ("train", "val", "test"))
    reference = read_reference(
        workspace.reference,
        ExtractorSettings.of(params.reference, seed=params.seed, root=workspace.root),
        {"train": len(train), "val": len(val), "test": len(test)},
        device,
    )
    usefulness = UtilitySettings.of(params.reference, reference.classifier.shape, seed=params.seed, device=device)
    trainings = (
        read_real_trainings(workspace.reference, train.labels, test.labels, usefulness) if card.classes else None
    )
    samples = read_samples(
        workspace.sampled_images, workspace.sampled_labels, card.shape, least=least_images(params.evaluate.neighbours)
    )
    generated = reference.extract(samples.images)

    scores = score(
        samples,
        generated,
        RealImages(train=train, val=val, test=test, classes=card.classes),
        reference,
        settings=FidelitySettings.of(params.evaluate, seed=params.seed),
        trainings=trainings,
        usefulness=usefulness,
    )
    model = load_model(workspace.denoiser, device)
    real = reference.features[reference.main.name]
    audit = memorisation_metrics(
        samples,
        train,
        test,
        generated_features=generated[reference.main.name],
        train_features=real.train,
        test_features=real.test,
        classes=len(card.classes),
        attacked=Attacked.of(model, device),
        settings=MemorisationSettings(
            seed=params.seed,
            canaries=params.train.canaries,
            canary_repeats=params.train.canary_repeats,
            **params.evaluate.memorisation.model_dump(),
        ),
        extractor={"extractor": reference.main.name, "digest": reference.main.digest},
    )
    pixels = PixelStatistics.of(train.images)
    noise_levels = pd.DataFrame(
        loss_by_noise_level(
            {
                "_raw": load_model(workspace.raw, device).denoiser,
                "": model.denoiser,
                "_baseline": pixels.denoiser(model.process, device),
            },
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
            "memorisation": audit.metrics,
            "likelihood": likelihood_metrics(model, test, pixels, likelihood, device),
            "protocol": {
                **scores.metrics["protocol"],
                "memorisation": audit.protocol,
                "likelihood": describe_likelihood(likelihood, card.shape),
            },
        }
    )
    confusion = scores.agreement.confusion if scores.agreement else np.zeros((0, 0), np.int64)
    write_table(workspace.plot("loss_by_noise_level"), noise_levels)
    write_table(workspace.plot("confusion"), confusion_table(confusion, card.classes))
    write_table(workspace.plot("nearest"), audit.suspects.table(train.ids))
    report = assemble(
        metrics=metrics,
        card=card,
        params=params.tracked(),
        grid=workspace.grid.read_bytes(),
        film=workspace.film.read_bytes(),
        copies=beside_nearest(samples.images, generated[JUDGE], train.images, reference.features[JUDGE].train),
        training=pd.read_csv(workspace.plot("training")),
        validation=pd.read_csv(workspace.plot("validation")),
        noise_levels=noise_levels,
        agreement=scores.agreement,
    )
    files.write_bytes(workspace.report, render(report).encode())
    files.write_json(workspace.metrics("evaluate"), metrics)
    return metrics


if __name__ == "__main__":
    run_stage(evaluate)
