"""The data that benchmarks train on: digits (scikit-learn), fashion (IDX files), colour32 (drawn from a seed)."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contenders import Task
from benchmarks.garments import FOLDER, garments

DATA = ("digits", "fashion", "colour32")
CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Training and test images.

    Args:
        name: of the data.
        train, test: uint8, N×C×H×W.
        train_labels, test_labels: int64, N.
        classes: their names.
    """

    name: str
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]


def pictures(name: str, *, path: Path = FOLDER, count: int | None = None, seed: int = 0) -> Pictures:
    """The data of that name.

    Args:
        path: of fashion: the folder with its IDX files.
        count: training images, at most; None: all there are, of colour32 50,000.
        seed: of colour32's images and of the parts of digits.

    Raises:
        UserError: the IDX files are missing.
        KeyError: there is no data of that name.
    """
    makers: dict[str, Callable[[], Pictures]] = {
        "digits": lambda: _digits(count, seed),
        "fashion": lambda: _fashion(path, count),
        "colour32": lambda: _colour(50_000 if count is None else count, seed),
    }
    return makers[name]()


def task_of(data: Pictures, options: Mapping[str, Any], device: torch.device, seconds: float | None = None) -> Task:
    """What everybody trains on, by the arguments --batch, --parameters and --seed."""
    return Task(
        images=data.train,
        labels=data.train_labels,
        classes=len(data.classes),
        batch_size=options["batch"],
        device=device,
        parameters=options["parameters"],
        seconds=seconds,
        seed=options["seed"],
    )


def add_data(parser: argparse.ArgumentParser, default: str = "digits") -> None:
    """The arguments --data, --path and --count."""
    parser.add_argument("--data", choices=DATA, default=default)
    parser.add_argument("--path", type=Path, default=FOLDER, help="of fashion: the folder with its IDX files")
    parser.add_argument("--count", type=int, help="training images, at most")


def _digits(count: int | None, seed: int) -> Pictures:
    """1437 of scikit-learn's 8×8 digits to train on and 360 to test with, in the levels of the source `digits`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[:-360][:count], order[-360:]
    return Pictures(
        name="digits",
        train=images[train],
        train_labels=labels[train],
        test=images[test],
        test_labels=labels[test],
        classes=tuple(map(str, range(CLASSES))),
    )


def _fashion(path: Path, count: int | None) -> Pictures:
    train, test, classes = garments(path)
    return Pictures(
        name="fashion",
        train=train.images[:count],
        train_labels=train.labels[:count],
        test=test.images,
        test_labels=test.labels,
        classes=classes,
    )


def _colour(count: int, seed: int) -> Pictures:
    """Soft coloured clouds of 3×32×32, and a fifth as many to test with."""
    train, train_labels = clouds(count, 32, 3, seed)
    test, test_labels = clouds(max(2, count // 5), 32, 3, seed + 1)
    return Pictures(
        name="colour32",
        train=train,
        train_labels=train_labels,
        test=test,
        test_labels=test_labels,
        classes=tuple(map(str, range(CLASSES))),
    )


def clouds(count: int, side: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images count×channels×side×side, uint8, and their labels, in float32 a few thousand at a time."""
    homes = np.random.default_rng(0).normal(0, 1, (CLASSES, channels, 4, 4)).astype(np.float32)
    draw = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    # From a grid of 4×4 to the image, linear between the middles of its cells.
    places = np.clip((np.arange(side) + 0.5) * 4 / side - 0.5, 0, 3)
    enlarge = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(4))).astype(np.float32)
    images = np.empty((count, channels, side, side), np.uint8)
    for first in range(0, count, 4096):
        some = labels[first : first + 4096]
        coarse = homes[some] + draw.normal(0, 0.5, (len(some), channels, 4, 4)).astype(np.float32)
        images[first : first + 4096] = np.clip(127.5 + 60 * (enlarge @ coarse @ enlarge.T), 0, 255)
    return images, labels
