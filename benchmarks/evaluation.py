"""What scoring a model costs: 10,000 generated images of 28×28 pixels against Fashion-MNIST's 60,000 and 10,000.

    python -m benchmarks.evaluation --out benchmarks/results/evaluation-cpu.json

The steps of the stages `reference` and `evaluate` by the functions that they call, with params.yaml as it is: features
of the real images, of the control sets and of the generated images by every extractor; all scores of distribution with
floors, intervals, classes and controls; the distances of the memorisation audit. Noised training images stand for
generated ones. Apart is what trains a classifier (the judge, CAS) or asks the denoiser (likelihood, membership). The
stages keep the real images' features for all models; here they count. Memory is the whole process's, torch included.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks import command
from benchmarks.garments import FOLDER, garments
from benchmarks.near_duplicates import peak_mb
from rediffuse import files
from rediffuse.data.dataset import Examples
from rediffuse.evaluation.control_images import control_images
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.extractors.classifier import Shape, save_classifier
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.memorisation.audit import memorisation_metrics
from rediffuse.evaluation.memorisation.losses import Attacked
from rediffuse.evaluation.memorisation.settings import MemorisationSettings
from rediffuse.evaluation.reference import JUDGE, write_features
from rediffuse.evaluation.samples import Samples
from rediffuse.evaluation.scoring import RealImages, score
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from rediffuse.evaluation.utility.settings import UtilitySettings
from rediffuse.params import load_params
from rediffuse.tables import rounded

GOAL = {"seconds": 180, "peak_mb": 3 * 1024}


@contextmanager
def timed(parts: dict[str, dict[str, float]], name: str) -> Iterator[None]:
    """Note what the block takes, by the clock and of the processors, and the greatest memory until its end."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    parts[name] = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": peak_mb(),
    }


def stand_in(train: Examples, classes: int, count: int, seed: int) -> Samples:
    """Noised training images, their classes taking turns as those of generated images do."""
    each = [np.flatnonzero(train.labels == label)[: count // classes] for label in range(classes)]
    rows = np.stack(each, axis=1).ravel()
    name, images = next(control_images(train.images[rows], None, seed))
    assert name == "noised"
    return Samples(images, train.labels[rows])


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.bare(__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder with the IDX files")
    parser.add_argument("--steps", type=int, default=200, help="of the judge's training, which isn't timed")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    params, load, device = load_params(Path("params.yaml")), os.getloadavg()[0], torch.device("cpu")
    seed, chosen = params.seed, params.reference
    train, test, classes = garments(options.data)
    # Only CAS looks at validation images.
    val = Examples(train.images[:0], train.labels[:0], ())
    shape = Shape.of(train.images.shape[1:], classes=len(classes), base=chosen.width, features=chosen.features)
    samples = stand_in(train, len(classes), 10_000, seed)
    judge = train_classifier(
        train.images,
        train.labels,
        shape=shape,
        recipe=Recipe(steps=options.steps, batch_size=chosen.batch_size, lr=chosen.lr),
        seed=seed,
        stream="reference",
        device=device,
    )

    parts: dict[str, dict[str, float]] = {}
    before = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        save_classifier(judge, Path(folder) / f"{JUDGE}.safetensors")
        with timed(parts, "features of the real images and controls"):
            reference = write_features(
                Path(folder),
                ExtractorSettings.of(chosen, seed=seed, root=Path()),
                {"train": train.images, "val": val.images, "test": test.images},
                test.labels,
                device,
            )
    with timed(parts, "features of the generated images"):
        generated = reference.extract(samples.images)
    with timed(parts, "distribution"):
        scores = score(
            samples,
            generated,
            RealImages(train=train, val=val, test=test, classes=classes),
            reference,
            settings=FidelitySettings.of(params.evaluate, seed=seed),
            trainings=None,  # no CAS
            usefulness=UtilitySettings.of(chosen, shape, seed=seed, device=device),
        )
    main_extractor, labels = reference.main, scores.labels
    with timed(parts, "memorisation"):
        audit = memorisation_metrics(
            samples,
            train,
            test,
            generated_features=generated[main_extractor.name],
            train_features=reference.features[main_extractor.name].train,
            test_features=reference.features[main_extractor.name].test,
            classes=len(classes),
            seen=labels.seen if labels else samples.labels,
            seen_test=labels.seen_test if labels else test.labels,
            attacked=cast(Attacked, None),  # with no membership images and no canaries nobody asks the denoiser
            settings=MemorisationSettings(
                seed=seed, membership_images=0, membership_levels=1, canaries=0, canary_repeats=1
            ),
            extractor={"extractor": main_extractor.name, "digest": main_extractor.digest},
        )
    total = {key: sum(part[key] for part in parts.values()) for key in ("seconds", "cpu_seconds")}
    parts["all"] = {**total, "peak_mb": peak_mb()}

    for name, part in parts.items():
        sys.stdout.write(
            f"{name:42}{part['seconds']:8.1f} s {part['cpu_seconds']:8.1f} s of the processors"
            f"{part['peak_mb']:8.0f} MB at most so far\n"
        )
    after = os.getloadavg()[0]
    sys.stdout.write(f"{before:.0f} MB before the first; {options.threads} threads, load {load:.1f} to {after:.1f}\n")
    if options.out:
        result: dict[str, Any] = {
            "environment": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "torch": torch.__version__,
                "processors": os.cpu_count(),
                "threads": options.threads,
                "load_before_and_after": [load, after],
            },
            "images": {"train": len(train), "test": len(test), "generated": len(samples.images)},
            "extractors": [each.name for each in reference.extractors],
            "goal": GOAL,
            "peak_mb_before": before,
            "parts": parts,
            "scores": {
                "fidelity": {key: scores.metrics["fidelity"][key] for key in ("fd", "fd_floor", "recall")},
                "memorisation": {key: audit.metrics[key] for key in ("ct", "authenticity")},
            },
        }
        files.write_json(options.out, rounded(result))


if __name__ == "__main__":
    main()
