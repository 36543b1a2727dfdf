"""Stage `sample`: images of the trained model, with a sheet of them, one of the raw weights', and a film."""

import io
import sys
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from rediffuse import files, memory, runtime
from rediffuse.acceleration import accelerate, profile
from rediffuse.joining import joined
from rediffuse.model import load_model
from rediffuse.params import Params
from rediffuse.pictures import class_grid, grid_rows, sheet
from rediffuse.processes import current
from rediffuse.sampling import Sampling, class_mix
from rediffuse.snapshots import asked_average, asked_reference
from rediffuse.stage import run_stage
from rediffuse.tables import rounded
from rediffuse.tracking import Run, Untracked
from rediffuse.workspace import Workspace


@memory.advised("use a smaller sample.batch_size, which is part of the numbers")
def sample(params: Params, workspace: Workspace, run: Run | None = None) -> dict[str, Any]:
    """Draw `sample.count` images; image i depends on (sample.seed, i) and the model alone."""
    device = runtime.start(params.runtime)
    model = load_model(workspace.denoiser, device)
    labels = class_mix(params.sample.count, model.classes, params.sample.classes)
    average = asked_average(workspace.snapshots, params.sample, device)
    away_from = asked_reference(workspace.snapshots, params.sample, device)
    reference = away_from.denoiser if away_from else None
    how = profile(params.runtime, device)
    for each in (average or model, away_from):
        if each:
            accelerate(each.denoiser.network, how)
    sampling = Sampling.of(average or model, params.sample, device, reference=reference)

    began = time.monotonic()
    with tqdm(total=len(labels), unit="img", desc="sample", disable=None if params.runtime.progress else True) as bar:
        drawn = sampling.drawn(labels, current(), bar.update)
    passes = current().gather(sampling.passes)
    if drawn is None or passes is None:
        # The first process has the images and writes them.
        return {}
    images, evaluations = drawn
    _tell_cost(run or Untracked(), len(images), time.monotonic() - began, evaluations, sum(passes))

    # The first image of each of the first ten classes, or the first eight of a model without.
    firsts = np.unique(labels, return_index=True)[1] if model.classes else np.arange(min(8, len(labels)))
    firsts = firsts[: min(10, params.sample.batch_size)]
    frames, levels = sampling.film(labels[firsts], firsts.tolist(), frames=10)
    film = sheet(
        [[frame[row] for frame in frames] for row in range(len(firsts))],
        [model.classes[label] for label in labels[firsts]] if model.classes else (),
        columns=[f"{level:.2g}" for level in levels],
    )

    for path, array in ((workspace.sampled_images, images), (workspace.sampled_labels, labels)):
        # Not into the file: numpy tells a full disk without its number.
        content = io.BytesIO()
        np.save(content, array)
        files.write_bytes(path, content.getvalue())
    files.write_bytes(workspace.grid, class_grid(images, labels, model.classes))
    files.write_bytes(workspace.film, film)
    raw_model = load_model(workspace.raw, device)
    accelerate(raw_model.denoiser.network, how)
    raw = Sampling.of(raw_model, params.sample, device, reference=reference)
    shown = np.concatenate(grid_rows(labels, model.classes))
    raw_images = raw.chosen(labels[shown], shown.tolist())
    files.write_bytes(workspace.raw_grid, class_grid(raw_images, labels[shown], model.classes))
    metrics: dict[str, Any] = rounded(
        {
            "count": len(images),
            "evaluations": evaluations,
            "brightness": float(images.mean()) / 255,
        }
    )
    files.write_json(workspace.metrics("sample"), metrics)
    return metrics


def _tell_cost(run: Run, count: int, seconds: float, evaluations: float, passes: int) -> None:
    """In no metric of the stage: those are the same bytes each time."""
    each = seconds / count
    run.log_timing(0, {"seconds_per_image": each})
    sys.stdout.write(
        f"sample: {count} images in {seconds:.1f} s, {1000 * each:.3g} ms and {evaluations:g} evaluations an image, "
        f"in {passes} passes of the network\n"
    )


if __name__ == "__main__":
    run_stage(sample, live=True, joined=joined)
