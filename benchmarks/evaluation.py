"""What scoring a set of images costs: 10,000 generated ones of 28×28 pixels against 60,000 and 10,000 real ones.

    python -m benchmarks.evaluation --out benchmarks/results/evaluation-cpu.json

Fashion-MNIST's images, and noised training images in place of generated ones, in the features of an untrained
classifier of the stage `reference` and of 64 principal components: scores with their floors and intervals by both, by
class, and beside six controls. Real images' features are cached by the stage `reference`; here they count.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.garments import FOLDER, Garments, blurred, noised
from benchmarks.near_duplicates import peak_mb
from rediffuse import files, yaml12
from rediffuse.evaluation.extractors.classifier import Classifier, Shape
from rediffuse.evaluation.extractors.features import Features, extract
from rediffuse.evaluation.fidelity import section
from rediffuse.evaluation.fidelity.classes import Labelled
from rediffuse.evaluation.fidelity.section import FeatureSets, fidelity_metrics
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.randomness import generator
from rediffuse.tables import rounded

COMPONENTS = 64


def principal(images: np.ndarray) -> Callable[[np.ndarray], Features]:
    """The projection of images on the principal components of these."""
    rows = images.reshape(len(images), -1)
    mean = rows.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(rows[:10_000].T))
    directions = np.ascontiguousarray(vectors[:, -COMPONENTS:], np.float32) / 255

    def project(some: np.ndarray) -> Features:
        flat = some.reshape(len(some), -1)
        parts = [(flat[at : at + 5000] - mean).astype(np.float32) @ directions for at in range(0, len(flat), 5000)]
        return np.concatenate(parts)

    return project


@contextmanager
def timed(seconds: dict[str, dict[str, float]], name: str) -> Iterator[None]:
    """Add what the block takes, by the clock and of the processors, to `seconds`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder with the four .gz files")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)

    params, load = yaml12.load(Path("params.yaml")), os.getloadavg()
    data = Garments.read(options.data)
    made = noised(data.train[:10_000], 0.05, 0)
    controls = {
        "noised": noised(data.test, 0.1, 0),
        "blurred": blurred(data.test),
        "missing_class": data.test[data.test_labels > 0],
        "shuffled": np.random.default_rng(0).permuted(data.test.reshape(10_000, -1), axis=1).reshape(data.test.shape),
        "uniform": np.random.default_rng(0).integers(0, 256, data.test.shape, np.uint8),
    }
    shape = Shape.of(
        (1, 28, 28), classes=10, base=params["reference"]["width"], features=params["reference"]["features"]
    )
    network = Classifier(shape, generator(0, "benchmark")).eval()
    network.calibrate(data.train[:2000])
    keys = ("neighbours", "coverage_neighbours", "manifold_points", "kid_subsets", "kid_subset_size")
    settings = FidelitySettings(seed=0, **{key: params["evaluate"][key] for key in keys})

    seconds: dict[str, dict[str, float]] = {}
    memory = {"data": peak_mb()}
    first: dict[str, Features] = {}
    for name, images in {"train": data.train, "test": data.test, "generated": made, **controls}.items():
        with timed(seconds, f"features/{name}"):
            first[name] = extract(network, images)
    with timed(seconds, "features/second extractor"):
        project = principal(data.train)
        second = {"train": project(data.train), "test": project(data.test), "generated": project(made)}
    memory["features"] = peak_mb()
    sets = [
        FeatureSets(
            "classifier", "", first["train"], first["test"], first["generated"], {c: first[c] for c in controls}
        ),
        FeatureSets("pca", "", second["train"], second["test"], second["generated"], {}),
    ]
    asked = data.train_labels[:10_000]
    names = tuple(str(digit) for digit in range(10))
    labels = Labelled(names, data.train_labels, data.test_labels, asked, seen=asked, seen_test=data.test_labels)
    with timed(seconds, "scores/by class"):
        section.score_classes(first["train"], first["test"], first["generated"], labels, settings)
    with timed(seconds, "scores/one extractor"):
        section.score_fidelity(first["train"], first["test"], first["generated"], settings)
    with timed(seconds, "scores/all"):
        fidelity_metrics(sets, labels, settings)
    memory["scores"] = peak_mb()

    parts = [spent for name, spent in seconds.items() if name.startswith("features/") or name == "scores/all"]
    total: dict[str, float] = {kind: sum(spent[kind] for spent in parts) for kind in ("wall", "cpu")}
    for name, spent in {**seconds, "features and scores/all": total}.items():
        sys.stdout.write(f"{name:28}{spent['wall']:8.1f} s{spent['cpu']:8.1f} s of the processors\n")
    sys.stdout.write(f"peak memory: {', '.join(f'{peak:.0f} MB with the {name}' for name, peak in memory.items())}\n")
    sys.stdout.write(f"{os.cpu_count()} processors, load before and after {load[0]:.1f}, {os.getloadavg()[0]:.1f}\n")
    if options.out:
        result: dict[str, Any] = {
            "environment": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "torch": torch.__version__,
                "processors": os.cpu_count(),
                "load_before_and_after": [load[0], os.getloadavg()[0]],
            },
            "seconds": {**seconds, "features and scores/all": total},
            "peak_mb": memory,
        }
        files.write_json(options.out, rounded(result))


if __name__ == "__main__":
    main()
