"""Stage `sweep`: the model sampled otherwise, scored at each guidance scale and at each number of evaluations."""

import sys
from typing import Any

import torch
from tqdm import tqdm

from rediffuse import files, memory, runtime
from rediffuse.acceleration import accelerate, profile
from rediffuse.data.dataset import load_split, split_counts
from rediffuse.evaluation.fidelity.settings import FidelitySettings, check_splits
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.reference import reference_of
from rediffuse.evaluation.sweep import (
    PointJudge,
    Scores,
    evaluations_table,
    guidance_table,
    sweep_metrics,
)
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.settings import UtilitySettings
from rediffuse.joining import joined
from rediffuse.model import load_model
from rediffuse.params import Params, SampleParams
from rediffuse.processes import current
from rediffuse.sampling import Sampling, class_mix
from rediffuse.snapshots import asked_average, asked_reference
from rediffuse.stage import run_stage
from rediffuse.sweep import guidance_points, steps_points, why_not_guided
from rediffuse.tables import rounded, write_table
from rediffuse.workspace import Workspace


@memory.advised("use a smaller sample.batch_size, which is part of the numbers, or sweep.count")
def sweep(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Draw and score `sweep.count` images at each point, all of them from the same noise.

    Writes metrics/sweep.json, plots/sweep_guidance.csv and plots/sweep_evaluations.csv.
    """
    device = runtime.start(params.runtime)
    model = load_model(workspace.denoiser, device)
    labels = class_mix(params.sweep.count, model.classes, params.sample.classes)
    unguided = why_not_guided(params.sample, params.train, labelled=bool(model.classes))
    guided = guidance_points(params.sweep, params.sample, guidable=unguided is None)
    stepped = steps_points(params.sweep, params.sample, model.description["process"]["name"])
    # Points may be the same, such as the model's own sampler and the scale 1: they are drawn once.
    wanted = {_key(sample): sample for sample in [each.sample for each in guided] + [each.sample for each in stepped]}

    average = asked_average(workspace.snapshots, params.sample, device)
    guiding = [sample for sample in wanted.values() if sample.guidance != 1]
    # Scales differ, what they guide away from does not.
    away_from = asked_reference(workspace.snapshots, guiding[0], device) if guiding else None
    reference = away_from.denoiser if away_from else None
    how = profile(params.runtime, device)
    for each in (average or model, away_from):
        if each:
            accelerate(each.denoiser.network, how)

    processes = current()
    if processes.first and len(guided) < len(params.sweep.guidance):
        left = [f"{scale:g}" for scale in params.sweep.guidance if scale != 1]
        sys.stdout.write(f"sweep: guidance {', '.join(left)} left out: {unguided}\n")
    judge = _judge(params, workspace, device) if processes.first else None
    with_utility = {_key(point.sample) for point in guided}
    scored: dict[str, Scores] = {}
    total = len(labels) * len(wanted)
    with tqdm(total=total, unit="img", desc="sweep", disable=None if params.runtime.progress else True) as bar:
        for key, sample in wanted.items():
            sampling = Sampling.of(average or model, sample, device, reference=reference)
            drawn = sampling.drawn(labels, processes, bar.update)
            if drawn is not None and judge is not None:
                images, evaluations = drawn
                scores = judge.score(images, labels, utility=key in with_utility)
                scored[key] = {"evaluations": evaluations, **scores}
    if judge is None:
        # The first process has the images, scores them and writes.
        return {}

    by_guidance = [(point.scale, scored[_key(point.sample)]) for point in guided]
    by_steps = [(point.sampler, point.steps, scored[_key(point.sample)]) for point in stepped]
    protocol = {
        "images": judge.size,
        "folds": len(labels) // judge.size,
        "count": len(labels),
        "reference": f"train ({len(judge.standard.train)} images)",
        "extractor": judge.reference.main.name,
        "digest": judge.reference.main.digest,
        "seed": params.seed,
        "sample_seed": params.sample.seed,
        "neighbours": params.evaluate.neighbours,
        "manifold_points": params.evaluate.manifold_points,
        "best": "of least fd; alike: intervals overlap",
        "cas": _cas_protocol(judge) if any("cas_val_accuracy" in each for each in scored.values()) else "none",
        "grids": {point.sampler: point.sample.grid for point in stepped},
    }
    metrics: dict[str, Any] = rounded(sweep_metrics(by_guidance, by_steps, protocol))
    write_table(workspace.plot("sweep_guidance"), guidance_table(by_guidance))
    write_table(workspace.plot("sweep_evaluations"), evaluations_table(by_steps))
    files.write_json(workspace.metrics("sweep"), metrics)
    return metrics


def _key(sample: SampleParams) -> str:
    return sample.model_dump_json()


def _cas_protocol(judge: PointJudge) -> dict[str, Any]:
    return {
        "validated_on": f"val ({len(judge.validation)} images)",
        "trainings": 1,
        "interval": "95 %, Wilson, over the images only: other trainings differ, too",
    }


def _judge(params: Params, workspace: Workspace, device: torch.device) -> PointJudge:
    counts, val = split_counts(workspace), load_split(workspace, "val")
    settings = FidelitySettings.of(params.evaluate, seed=params.seed)
    check_splits(counts["train"], counts["test"], settings.neighbours, settings.coverage_neighbours)
    reference = reference_of(workspace, params.reference, params.seed, counts, device)
    return PointJudge(
        reference=reference,
        standard=Standard(reference.features[reference.main.name].train, settings),
        size=min(params.sweep.count, counts["test"]),
        validation=Pairs.labelled(val.images, val.labels),
        usefulness=UtilitySettings.of(params.reference, reference.classifier.shape, seed=params.seed, device=device),
    )


if __name__ == "__main__":
    run_stage(sweep, joined=joined)
