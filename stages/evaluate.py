"""evaluate: score the samples against the real images, and write the report."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from rediffuse import files, memory, runtime
from rediffuse.data.card import Card
from rediffuse.data.dataset import Examples, load_split
from rediffuse.diffusion import Denoiser
from rediffuse.evaluation.baseline import PixelStatistics
from rediffuse.evaluation.fidelity.settings import FidelitySettings, least_images
from rediffuse.evaluation.likelihood import LikelihoodSettings, describe_likelihood, likelihood_metrics
from rediffuse.evaluation.memorisation.audit import memorisation_metrics
from rediffuse.evaluation.memorisation.authenticity import Suspects
from rediffuse.evaluation.memorisation.losses import Attacked
from rediffuse.evaluation.memorisation.settings import MemorisationSettings
from rediffuse.evaluation.reference import reference_of
from rediffuse.evaluation.report.assembly import Made, assemble
from rediffuse.evaluation.report.cost import cost_of
from rediffuse.evaluation.report.facts import identity
from rediffuse.evaluation.report.figures.pairs import suspicious_picture
from rediffuse.evaluation.report.outs import write_report
from rediffuse.evaluation.samples import Samples, read_samples
from rediffuse.evaluation.scoring import RealImages, Scores, score
from rediffuse.evaluation.utility.confusion import confusion_table
from rediffuse.evaluation.utility.real_trainings import read_real_trainings
from rediffuse.evaluation.utility.settings import UtilitySettings
from rediffuse.evaluation.verdicts import check_verdicts, judge
from rediffuse.model import Model, load_model
from rediffuse.params import Params
from rediffuse.provenance.environment import environment
from rediffuse.stage import run_stage
from rediffuse.tables import rounded, write_table
from rediffuse.training.validation import loss_by_noise_level
from rediffuse.workspace import Workspace

PAIRS_SHOWN = 10


@memory.advised("use fewer evaluate.manifold_points, evaluate.likelihood.images or a smaller evaluate.kid_subset_size")
def evaluate(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Score distribution, use to a classifier, memorisation, likelihood, and loss by noise level.

    Writes metrics/evaluate.json, tables to plots/, reports/report.html, reports/model_card.md and reports/figures/.
    """
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    real = RealImages(
        **{name: load_split(workspace, name) for name in ("train", "val", "test")},
        classes=card.classes,
    )
    samples = read_samples(
        workspace.sampled_images, workspace.sampled_labels, card.shape, least=least_images(params.evaluate.neighbours)
    )
    model = load_model(workspace.denoiser, device)

    scores, suspects = _scores(params, workspace, samples, real, model, device)
    pixels = PixelStatistics.of(real.train.images)
    noise_levels = _noise_levels(params, workspace, real.val, model, pixels, device)
    likelihood = LikelihoodSettings(seed=params.seed, **params.evaluate.likelihood.model_dump())
    metrics: dict[str, Any] = rounded(
        {
            **scores.metrics,
            "likelihood": likelihood_metrics(model, real.test, pixels, likelihood, device),
            "protocol": {
                **scores.metrics["protocol"],
                "likelihood": describe_likelihood(likelihood, card.shape, len(real.test)),
            },
        }
    )
    metrics["verdicts"] = judge(metrics, params.evaluate.verdicts.model_dump())

    confusion = scores.agreement.confusion if scores.agreement else None
    write_table(workspace.plot("loss_by_noise_level"), noise_levels)
    counts = np.zeros((0, 0), np.int64) if confusion is None else confusion
    write_table(workspace.plot("confusion"), confusion_table(counts, card.classes))
    write_table(workspace.plot("nearest"), suspects.table(real.train.ids))
    made = Made(
        grid=workspace.grid.read_bytes(),
        raw_grid=workspace.raw_grid.read_bytes(),
        film=workspace.film.read_bytes(),
        suspicious=suspicious_picture(
            samples.images[suspects.generated[:PAIRS_SHOWN]],
            [real.train.images[rows] for rows in suspects.train[:PAIRS_SHOWN]],
            suspects.ratios[:PAIRS_SHOWN],
            among=len(samples.images),
        ),
        suspicious_count=len(suspects.generated[:PAIRS_SHOWN]),
        training=pd.read_csv(workspace.plot("training")),
        validation=pd.read_csv(workspace.plot("validation")),
        noise_levels=noise_levels,
        guidance=pd.read_csv(workspace.plot("sweep_guidance")),
        evaluations=pd.read_csv(workspace.plot("sweep_evaluations")),
        sweep_protocol=files.read_json(workspace.metrics("sweep"))["protocol"],
        confusion=confusion,
        cost=cost_of(
            model,
            examples=params.train.steps * params.train.batch_size,
            evaluations=files.read_json(workspace.metrics("sample"))["evaluations"],
            device=device,
        ),
        identity=identity(workspace),
        environment=environment(workspace.root),
    )
    # How a model is registered and spoken to decides none of its scores, and to change it makes no other report.
    unscored = ("register", "prompts")
    listed = {name: section for name, section in params.tracked().items() if name not in unscored}
    write_report(workspace, assemble(metrics, card, listed, made), metrics, card, listed)
    files.write_json(workspace.metrics("evaluate"), metrics)
    # With everything written: `run_stage` tells of it, and what failed is there to be looked at.
    check_verdicts(metrics["verdicts"], params.evaluate.fail_on)
    return metrics


def _scores(
    params: Params, workspace: Workspace, samples: Samples, real: RealImages, model: Model, device: torch.device
) -> tuple[Scores, Suspects]:
    """All scores of the images, and which of them are the most like training images."""
    counts = {"train": len(real.train), "val": len(real.val), "test": len(real.test)}
    reference = reference_of(workspace, params.reference, params.seed, counts, device)
    usefulness = UtilitySettings.of(params.reference, reference.classifier.shape, seed=params.seed, device=device)
    trainings = (
        read_real_trainings(workspace.reference, real.train.labels, real.test.labels, usefulness)
        if real.classes
        else None
    )
    generated = reference.extract(samples.images)
    scores = score(
        samples,
        generated,
        real,
        reference,
        settings=FidelitySettings.of(params.evaluate, seed=params.seed),
        trainings=trainings,
        usefulness=usefulness,
    )
    main = reference.main
    audit = memorisation_metrics(
        samples,
        real.train,
        real.test,
        generated_features=generated[main.name],
        train_features=reference.features[main.name].train,
        test_features=reference.features[main.name].test,
        seen=scores.labels.seen if scores.labels else samples.labels,
        seen_test=scores.labels.seen_test if scores.labels else real.test.labels,
        classes=len(real.classes),
        attacked=Attacked.of(model, device),
        settings=MemorisationSettings(
            seed=params.seed,
            canaries=params.train.canaries,
            canary_repeats=params.train.canary_repeats,
            **params.evaluate.memorisation.model_dump(),
        ),
        extractor={"extractor": main.name, "digest": main.digest},
    )
    metrics = {
        **scores.metrics,
        "memorisation": audit.metrics,
        "protocol": {**scores.metrics["protocol"], "memorisation": audit.protocol},
    }
    return replace(scores, metrics=metrics), audit.suspects


def _noise_levels(
    params: Params, workspace: Workspace, val: Examples, model: Model, pixels: PixelStatistics, device: torch.device
) -> pd.DataFrame:
    """The loss at each noise level: of the raw weights, of the averaged ones, and by mean and variance alone."""
    denoisers: dict[str, Denoiser] = {
        "_raw": load_model(workspace.raw, device).denoiser,
        "": model.denoiser,
        "_baseline": pixels.denoiser(model.process, device),
    }
    return pd.DataFrame(
        loss_by_noise_level(
            denoisers,
            model.loss,
            model.noise_levels,
            val.images,
            val.labels if model.classes else None,
            levels=params.evaluate.noise_levels,
            seed=params.seed,
            device=device,
        )
    )


if __name__ == "__main__":
    run_stage(evaluate)
