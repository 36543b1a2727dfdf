"""How well the checks of labels and of outliers find what is planted.

    python -m benchmarks.label_checks --fashion /usr/share/datasets/fashion-mnist --out FILE

On scikit-learn's digits, and on Fashion-MNIST where a folder with its IDX files is given: labels made wrong at random,
and strangers in the classes (inverted, turned by 90°, noise, a quarter blown up). Views and thresholds are those that
`clean` has with params.yaml. Precision counts what the data itself holds of either as an error.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import command
from rediffuse.data import checks
from rediffuse.data.decoding import DecodePolicy
from rediffuse.data.features import Features, features
from rediffuse.data.looking import look
from rediffuse.data.outliers import class_outliers
from rediffuse.data.png import encode_png
from rediffuse.data.sources import Row, Source
from rediffuse.data.sources.digits import Digits
from rediffuse.data.sources.idx import Idx
from rediffuse.data.suspects import label_suspects
from rediffuse.params import load_params
from rediffuse.tables import rounded

_BATCH = 256

STRANGE: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    lambda image, _: 255 - image,
    lambda image, _: np.rot90(image).copy(),
    lambda image, draw: draw.integers(0, 256, image.shape, dtype=np.uint8),
    lambda image, _: np.kron(image[: len(image) // 2, : len(image) // 2], np.ones((2, 2), np.uint8)),
)


def main() -> None:
    """Print a table for each data set, and write it as JSON where asked to."""
    parser = command.bare(__doc__)
    parser.add_argument("--fashion", type=Path)
    options = parser.parse_args()
    sources: dict[str, Source] = {"digits": Digits(Path())}
    if options.fashion:
        sources["Fashion-MNIST"] = Idx(options.fashion)
    results = {name: rounded(measure(source)) for name, source in sources.items()}
    for name, table in results.items():
        sys.stdout.write(f"{name}\n")
        for row, values in table.items():
            said = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
            sys.stdout.write(f"  {row:32} {said}\n")
    command.write(options.out, results)


def measure(source: Source) -> dict[str, dict[str, Any]]:
    """What is marked in the data as it is, and recall and precision of what is planted."""
    settings = load_params(Path("params.yaml")).clean.checks
    rows = list(source)
    labels = np.array([row.label for row in rows], np.int32)
    hashes = np.arange(len(rows), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    views = seen([row.content for row in rows])
    draw = np.random.default_rng(0)

    def suspected(found: Features, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability, suggestion = label_suspects(found, given, hashes, np.arange(len(given)))
        return checks.label_suspect(probability, suggestion, settings.label_suspect.probability), suggestion

    def far(found: Features) -> np.ndarray:
        scores = class_outliers(found, labels, hashes, np.arange(len(labels)))
        return checks.class_outlier(scores, settings.class_outlier.deviations)

    plain = features(lambda some: views[some], np.arange(len(rows)), hashes)
    results: dict[str, dict[str, Any]] = {
        "as it is": {
            "images": len(rows),
            "suspects": int(suspected(plain, labels)[0].sum()),
            "outliers": int(far(plain).sum()),
        }
    }
    for share in (0.02, 0.1):
        wrong = draw.random(len(rows)) < share
        given = np.where(
            wrong, (labels + draw.integers(1, len(source.classes), len(rows))) % len(source.classes), labels
        )
        marked, suggestion = suspected(plain, given.astype(np.int32))
        right = (suggestion == labels)[marked & wrong].mean()
        results[f"{share:.0%} of the labels wrong"] = {**score(marked, wrong), "suggestion_right": float(right)}
    strangers = np.flatnonzero(draw.random(len(rows)) < 0.02)
    changed = views.copy()
    changed[strangers] = seen([stranger(rows[i], number, draw) for number, i in enumerate(strangers)])
    planted = np.zeros(len(rows), bool)
    planted[strangers] = True
    results["2% strangers"] = score(far(features(lambda some: changed[some], np.arange(len(rows)), hashes)), planted)
    return results


def seen(contents: list[bytes]) -> np.ndarray:
    """The views of image files."""
    rows = [Row(id=str(i), content=content, label=None, origin="") for i, content in enumerate(contents)]
    batches = (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))
    return np.concatenate([look(batch, DecodePolicy(), "center_crop")[1] for batch in batches])


def stranger(row: Row, number: int, draw: np.random.Generator) -> bytes:
    """An image made strange, in one of the ways in turn."""
    image = np.asarray(Image.open(io.BytesIO(row.content)))
    return encode_png(np.ascontiguousarray(STRANGE[number % len(STRANGE)](image, draw)))


def score(marked: np.ndarray, planted: np.ndarray) -> dict[str, float]:
    """Recall of what was planted, and precision of what was marked."""
    both = (marked & planted).sum()
    return {"recall": float(both / planted.sum()), "precision": float(both / max(marked.sum(), 1))}


if __name__ == "__main__":
    main()
