"""Do the distribution scores say of good and bad images what they must? On Fashion-MNIST, beside a table made before.

    python -m benchmarks.controls --out benchmarks/results/controls-fashion-mnist.json

Each set of 10,000 is scored against 10,000 training images in the features of a classifier that the recipe of the stage
`reference` trains for three epochs. `before` was measured with another implementation and another classifier: three
convolutions, 128 features and three epochs too. k is 3 throughout, which the coverage of that table fits: of two sets
of one distribution and size about 1 - 2^-k of the balls hold a point. Which class it left out isn't known: each is.

Two numbers agree where they differ by no more than two samples of images would, at the width of the 95 % interval
measured here. A Fréchet distance has the square of its extractor's unit, so only its ratio to the floor is compared.
That two classifiers, each trained from its own random weights, see noise and blur differently is no sampling error:
`--lr`, `--shift` and `--steps` show how much the training decides.
"""

import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import command
from benchmarks.garments import FOLDER, garments
from rediffuse import files
from rediffuse.data.dataset import Examples
from rediffuse.evaluation.control_images import control_images
from rediffuse.evaluation.extractors.classifier import Classifier, Shape
from rediffuse.evaluation.extractors.features import Features, classify, extract
from rediffuse.evaluation.fidelity.protocol import in_folds
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.spread import estimates
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from rediffuse.params import load_params
from rediffuse.tables import rounded

STEPS = 1407  # three epochs of 60,000 images in batches of 128, rounded up
NEIGHBOURS = 3
SIZE = 10_000
SHARES = ("precision", "recall", "f1", "density", "coverage")
FLOOR, MISSING = "real test", "test without a class"
CONTROLS = {"noised": "test + noise 0.1", "blurred": "test, 3×3 blur", "uniform": "uniform noise"}
BEFORE = {
    "another 10k train": (0.256, 0.879, 0.893, 0.886, 1.001, 0.885),
    FLOOR: (0.278, 0.883, 0.876, 0.880, 1.023, 0.878),
    "test + noise 0.1": (65.1, 0.662, 0.115, 0.196, 0.590, 0.228),
    "test, 3×3 blur": (122, 0.645, 0.014, 0.028, 0.372, 0.094),
    MISSING: (5.16, 0.880, 0.861, 0.870, 1.014, 0.848),
    "uniform noise": (514, 0.144, 0.0, 0.0, 0.049, 0.003),
}


def feature_sets(
    network: Classifier, train: Examples, test: Examples, classes: tuple[str, ...], seed: int
) -> dict[str, Features]:
    """The 10,000 training images that all are compared with, under "", and each set of the table."""
    order = np.random.default_rng(seed).permutation(len(train))
    real = extract(network, test.images)
    sets = {
        "": extract(network, train.images[order[:SIZE]]),
        "another 10k train": extract(network, train.images[order[SIZE : 2 * SIZE]]),
        FLOOR: real,
    }
    for name, images in control_images(test.images, None, seed):
        if name in CONTROLS:
            sets[CONTROLS[name]] = extract(network, images)
    return sets | {f"{MISSING}: {name}": real[test.labels != at] for at, name in enumerate(classes)}


def scored(made: Features, standard: Standard) -> dict[str, float]:
    """The columns of the table, each with its interval."""
    found = estimates(in_folds(standard, made, len(made)), standard)
    return {key: value for name in ("fd", *SHARES) for key, value in found[name].named(name).items()}


def compared(row: dict[str, float], floor: dict[str, float], name: str) -> dict[str, Any]:
    """The row with its distance in units of the floor, the row of before, and which columns agree."""
    distance, *shares = BEFORE[name.partition(":")[0]]
    before = {"fd": distance, "floors": distance / BEFORE[FLOOR][0], **dict(zip(SHARES, shares, strict=True))}
    floors = row["fd"] / floor["fd"]
    agrees = [
        column
        for column in SHARES
        if abs(row[column] - before[column]) <= np.sqrt(0.5) * (row[f"{column}_high"] - row[f"{column}_low"])
    ]
    # How uncertain a ratio is, relative to it, both distances decide; that of before was no less so.
    row_reach, floor_reach = ((each["fd_high"] - each["fd_low"]) / (2 * each["fd"]) for each in (row, floor))
    reach = np.hypot(row_reach, floor_reach)
    if name != FLOOR and abs(np.log(floors / before["floors"])) <= np.sqrt(2) * reach:
        agrees.append("floors")
    return {**row, "floors": floors, "before": before, "agrees": agrees}


def main() -> None:
    """Run the benchmark that the command line asks for."""
    params = load_params(Path("params.yaml"))
    seed, chosen = params.seed, params.reference
    usual = Recipe(steps=STEPS, batch_size=chosen.batch_size, lr=chosen.lr)
    parser = command.bare(__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder with the IDX files")
    parser.add_argument("--steps", type=int, default=usual.steps, help="of the classifier's training")
    parser.add_argument("--lr", type=float, default=usual.lr, help="its learning rate")
    parser.add_argument("--shift", type=float, default=usual.shift, help="how far its images are moved")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe = Recipe(steps=options.steps, batch_size=usual.batch_size, lr=options.lr, shift=options.shift)
    train, test, classes = garments(options.data)
    start = time.perf_counter()
    network = train_classifier(
        train.images,
        train.labels,
        shape=Shape.of(train.images.shape[1:], classes=len(classes), base=chosen.width, features=chosen.features),
        recipe=recipe,
        seed=seed,
        stream="reference",
        device=torch.device("cpu"),
    )
    trained = time.perf_counter() - start
    features = feature_sets(network, train, test, classes, seed)
    accuracy = float((classify(network, features[FLOOR]) == test.labels).mean())

    given = params.evaluate.model_copy(update={"neighbours": NEIGHBOURS, "coverage_neighbours": NEIGHBOURS})
    standard = Standard(features.pop(""), FidelitySettings.of(given, seed=seed))
    found = {name: scored(made, standard) for name, made in features.items()}
    rows = {name: compared(row, found[FLOOR], name) for name, row in found.items()}

    sys.stdout.write(f"{recipe} in {trained:.0f} s, test accuracy {accuracy:.3f}; before in brackets\n")
    heads = ("fd", "floors", *SHARES)
    sys.stdout.write(f"{'against 10k train':26}" + "".join(f"{head:>17}" for head in heads) + "\n")
    for name, row in rows.items():
        shown = [f"{row[key]:.3g} ({row['before'][key]:.3g})" for key in heads[:2]]
        shown += [f"{row[key]:.3f} ({row['before'][key]:.3f})" for key in SHARES]
        marked = [cell + " *"[head in row["agrees"]] for cell, head in zip(shown, heads, strict=True)]
        sys.stdout.write(f"{name:26}" + "".join(f"{cell:>17}" for cell in marked) + "\n")
    sys.stdout.write("* within sampling error\n")
    if options.out:
        result = {
            "environment": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
            "recipe": {"steps": recipe.steps, "batch_size": recipe.batch_size, "lr": recipe.lr, "shift": recipe.shift},
            "neighbours": NEIGHBOURS,
            "test_accuracy": accuracy,
            "sets": rows,
        }
        files.write_json(options.out, rounded(result))


if __name__ == "__main__":
    main()
