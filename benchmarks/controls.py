"""Do the distribution scores say of good and bad images what they must? On Fashion-MNIST, beside a table made before.

    python -m benchmarks.controls --out benchmarks/results/controls-fashion-mnist.json

Each set of 10,000 is scored against 10,000 training images in the features of a classifier trained as the stage
`reference` trains it. `before` was measured with another implementation and another small classifier: three
convolutions too, 128 features, three epochs. A Fréchet distance has the square of its extractor's unit, so that column
is compared in units of the floor, and how far an extractor lets noise and blur stray is its own. What does not
depend on the extractor's unit can agree within sampling error: a share agrees where the two numbers lie within the
95 % intervals of both, taken to be as wide as the one measured here. The coverage of that table fits k = 3, not the 5
used here: for two sets of one distribution and size about 1 - 2^-k of the balls hold a point, .875 or .969.
"""

import argparse
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.garments import FOLDER, Garments, blurred, noised
from rediffuse import files, yaml12
from rediffuse.evaluation.extractors.classifier import Shape
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.fidelity.protocol import in_folds
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.spread import estimates
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from rediffuse.tables import rounded

COLUMNS = ("fd", "precision", "recall", "f1", "density", "coverage")
FLOOR = "real test"
BEFORE = {
    "another 10k train": (0.256, 0.879, 0.893, 0.886, 1.001, 0.885),
    FLOOR: (0.278, 0.883, 0.876, 0.880, 1.023, 0.878),
    "test + noise 0.1": (65.1, 0.662, 0.115, 0.196, 0.590, 0.228),
    "test, 3×3 blur": (122, 0.645, 0.014, 0.028, 0.372, 0.094),
    "test without a class": (5.16, 0.880, 0.861, 0.870, 1.014, 0.848),
    "uniform noise": (514, 0.144, 0.0, 0.0, 0.049, 0.003),
}


def control_sets(data: Garments, seed: int, missing: int) -> dict[str, np.ndarray]:
    """The 10,000 training images that all are compared with, under "", and each set of the table."""
    order = np.random.default_rng(seed).permutation(len(data.train))
    return {
        "": data.train[order[:10_000]],
        "another 10k train": data.train[order[10_000:20_000]],
        FLOOR: data.test,
        "test + noise 0.1": noised(data.test, 0.1, seed),
        "test, 3×3 blur": blurred(data.test),
        "test without a class": data.test[data.test_labels != missing],
        "uniform noise": np.random.default_rng(seed).integers(0, 256, data.test.shape, np.uint8),
    }


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder with the four .gz files")
    parser.add_argument("--missing", type=int, default=0, help="the class left out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    params = yaml12.load(Path("params.yaml"))
    seed, chosen = params["seed"], params["reference"]
    data, start = Garments.read(options.data), time.perf_counter()
    network = train_classifier(
        data.train,
        data.train_labels,
        shape=Shape.of((1, 28, 28), classes=10, base=chosen["width"], features=chosen["features"]),
        recipe=Recipe(**{key: chosen[key] for key in ("steps", "batch_size", "lr")}),
        seed=seed,
        stream="reference",
        device=torch.device("cpu"),
    )
    trained = time.perf_counter() - start
    sets = control_sets(data, seed, options.missing)
    features = {name: extract(network, images) for name, images in sets.items()}
    accuracy = float((classify(network, features[FLOOR]) == data.test_labels).mean())

    keys = ("neighbours", "coverage_neighbours", "manifold_points", "kid_subsets", "kid_subset_size")
    standard = Standard(features.pop(""), FidelitySettings(seed=seed, **{key: params["evaluate"][key] for key in keys}))
    rows: dict[str, Any] = {}
    for name, made in features.items():
        found = estimates(in_folds(standard, made, len(made)), standard)
        rows[name] = {"images": len(made), "before": dict(zip(COLUMNS, BEFORE[name], strict=True))}
        rows[name] |= {key: value for column in COLUMNS for key, value in found[column].named(column).items()}
    for row in rows.values():
        row["floors"] = row["fd"] / rows[FLOOR]["fd"]
        row["before"]["floors"] = row["before"]["fd"] / BEFORE[FLOOR][0]
        row["agrees"] = [
            column
            for column in COLUMNS[1:]
            if abs(row[column] - row["before"][column]) <= np.sqrt(0.5) * (row[f"{column}_high"] - row[f"{column}_low"])
        ]

    sys.stdout.write(f"{chosen['steps']} steps in {trained:.0f} s, test accuracy {accuracy:.3f}; before in brackets\n")
    heads = ("fd", "in floors", *COLUMNS[1:])
    sys.stdout.write(f"{'against 10k train':22}" + "".join(f"{head:>17}" for head in heads) + "\n")
    for name, row in rows.items():
        cells = [f"{row[key]:.4g} ({row['before'][key]:.4g})" for key in ("fd", "floors")]
        cells += [f"{row[key]:.3f} ({row['before'][key]:.3f})" + " *"[key in row["agrees"]] for key in COLUMNS[1:]]
        sys.stdout.write(f"{name:22}" + "".join(f"{cell:>17}" for cell in cells) + "\n")
    sys.stdout.write("* within sampling error\n")
    if options.out:
        environment = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
        result = {"environment": environment, "missing": options.missing, "test_accuracy": accuracy, "sets": rows}
        files.write_json(options.out, rounded(result))


if __name__ == "__main__":
    main()
