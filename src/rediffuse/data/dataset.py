"""The cleaned examples of one split, as every later stage reads them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rediffuse.data.arrays import StoredExamples, map_examples
from rediffuse.data.card import Card
from rediffuse.data.manifest import MANIFEST, SPLIT, SPLITS, read_table
from rediffuse.errors import UserError
from rediffuse.workspace import Workspace


@dataclass(frozen=True)
class Examples:
    """Images with their labels and ids, in the order of the manifest.

    Args:
        images: uint8, N×C×H×W.
        labels: int64, N; positions in the card's classes, -1 where an image has no label.
        ids: N names.
        stored: where other processes read the same images; None where they come from nowhere but memory.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    stored: StoredExamples | None = None

    def __len__(self) -> int:
        return len(self.ids)


def load_split(workspace: Workspace, split: Literal["train", "val", "test"]) -> Examples:
    """The examples of one split; its images are copied out of the memory-mapped store.

    Raises:
        UserError: a file of `clean` or `split` is missing, damaged, breaks its schema, or was not made with the others.
    """
    manifest, assigned = read_table(workspace.manifest, MANIFEST), read_table(workspace.split, SPLIT)
    images = map_examples(workspace.examples)
    if len(images) != len(manifest) or not manifest["id"].equals(assigned["id"]):
        raise UserError(
            f"{workspace.examples} ({len(images)} examples), {workspace.manifest.name} ({len(manifest)}) and "
            f"{workspace.split.name} ({len(assigned)}) don't list the same examples; run dvc repro"
        )
    card = Card.read(workspace.card)
    if images.shape != (card.count, *card.shape):
        raise UserError(
            f"{workspace.examples} holds {_times(images.shape)}, but {workspace.card.name} says "
            f"{_times((card.count, *card.shape))}; run dvc repro clean"
        )
    labels = manifest["label"].fillna(-1).to_numpy(dtype=np.int64)
    if card.classes and labels.max(initial=-1) >= len(card.classes):
        raise UserError(
            f"{workspace.manifest} has the label {labels.max()}, but {workspace.card.name} names "
            f"{len(card.classes)} classes; run dvc repro clean"
        )
    chosen = (assigned["split"] == split).to_numpy(dtype=bool)
    return Examples(
        images=images[chosen],
        labels=labels[chosen],
        ids=tuple(manifest["id"][chosen]),
        stored=StoredExamples(workspace.examples, np.flatnonzero(chosen)),
    )


def split_counts(workspace: Workspace) -> dict[str, int]:
    """How many examples each split holds: train, val, test; no image is read.

    Raises:
        UserError: the file of `split` is missing, damaged or breaks its schema.
    """
    found = read_table(workspace.split, SPLIT)["split"].value_counts()
    return {name: int(found.get(name, 0)) for name in SPLITS}


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)
