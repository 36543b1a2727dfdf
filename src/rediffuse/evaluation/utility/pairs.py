"""Images with their classes, as a classifier learns from them or is tested on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.extractors.classifier import Images, Labels
from rediffuse.seeds import hashed_seed


@dataclass(frozen=True)
class Pairs:
    """Images (N, C, H, W) and their labels (N,), 0 or above."""

    images: Images
    labels: Labels

    @classmethod
    def labelled(cls, images: Images, labels: Labels) -> "Pairs":
        """Those that have a label: -1 says that there is none."""
        known = labels >= 0
        return cls(images, labels) if known.all() else cls(images[known], labels[known])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> "Pairs":
        return Pairs(self.images[rows], self.labels[rows])

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels]))


def stratified_order(labels: Labels, seed: int, stream: str, repeat: int = 0) -> NDArray[np.int64]:
    """An order of N rows, drawn by key, whose every beginning shows the classes as all rows do, each to within one row.

    The first 100 are among the first 500: a larger choice only adds.
    """
    order = np.random.default_rng(hashed_seed(seed, stream, index=repeat)).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        # The k-th of m rows of a class stands where it would if they were spread evenly over the order.
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    chosen: NDArray[Any] = order[np.argsort(place[order], kind="stable")]
    return np.asarray(chosen, np.int64)
