"""Workspaces as clean and split leave them, written by hand: each image with the fate it is given here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rediffuse.data.card import Card
from rediffuse.data.manifest import MANIFEST, REJECTED, SPLIT, write_columns
from rediffuse.data.shards import write_shards
from rediffuse.data.sources.source import About, Row
from rediffuse.files import write_json
from rediffuse.workspace import Workspace
from tests.data.planted import encoded, pixels


@dataclass(frozen=True, kw_only=True)
class Image:
    """A row of the source, and what becomes of it: kept in a split, or `fate` for a reason."""

    id: str
    content: bytes = b""
    example: np.ndarray | None = None  # as trained, C×H×W
    label: int | None = None
    fate: str = "kept"  # kept | quarantined | rejected
    reason: str = ""
    detail: str = ""
    split: str = "train"
    group: str | None = None
    findings: str = ""
    converted: str = ""
    width: int = 8
    height: int = 8
    deviations: float | None = None
    probability: float | None = None
    suggestion: int | None = None


@dataclass(frozen=True)
class ListSource:
    images: Sequence[Image]
    classes: tuple[str, ...]
    name: str = "planted"
    about: About = field(default_factory=About)

    def __iter__(self) -> Iterator[Row]:
        for image in self.images:
            yield Row(id=image.id, content=image.content, label=image.label, origin=image.id)


def kept(number: int, **values: Any) -> Image:
    """A random 8×8 grey image that is kept."""
    grey = pixels(number, 8, 8, 1)
    return replace(Image(id=f"kept/{number:03d}.png", content=encoded(grey), example=grey[None]), **values)


def write_workspace(
    root: Path,
    images: Sequence[Image],
    classes: tuple[str, ...],
    split_metrics: dict[str, Any] | None = None,
    **card: Any,
) -> Workspace:
    """All that `survey` reads."""
    workspace = Workspace.at(root)
    write_shards(ListSource(images, classes), workspace.prepared, shard_rows=20)
    workspace.clean.mkdir(parents=True)
    workspace.split.parent.mkdir(parents=True)
    stay = [image for image in images if image.fate == "kept"]
    examples = np.stack([image.example for image in stay])
    np.save(workspace.examples, examples)
    _write(workspace.manifest, MANIFEST, list(map(_manifest_row, range(len(stay)), stay)))
    for path, fate in ((workspace.rejected, "rejected"), (workspace.quarantined, "quarantined")):
        rows = [
            {
                "id": image.id,
                "origin": image.id,
                "label": image.label,
                "reason": image.reason,
                "detail": image.detail,
                "group": image.group or image.id,
            }
            for image in images
            if image.fate == fate
        ]
        _write(path, REJECTED, rows)
    _write(workspace.split, SPLIT, [{"id": image.id, "split": image.split} for image in stay])
    labels = [-1 if image.label is None else image.label for image in stay]
    values = {"mean": -0.25, "std": 0.5, "source": "planted", "digest": "d1ge57"} | card
    Card(
        modality="image",
        shape=examples.shape[1:],
        classes=classes,
        count=len(stay),
        class_counts={name: labels.count(label) for label, name in enumerate(classes)},
        **values,
    ).write(workspace.card)
    write_json(workspace.metrics("split"), split_metrics or {})
    return workspace


def _manifest_row(number: int, image: Image) -> dict[str, Any]:
    grey = image.example.mean(axis=0)
    counts = np.bincount(grey.astype(int).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return {
        "id": image.id,
        "sha256": f"{number * 2654435761 % 2**256:064x}",
        "width": image.width,
        "height": image.height,
        "mode": "L",
        "label": image.label,
        "caption": None,
        "given_split": None,
        "origin": image.id,
        "group": image.group or image.id,
        "converted": image.converted,
        "findings": image.findings,
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "entropy": float(-(shares * np.log2(shares)).sum() + 0.0),
        "deviations": image.deviations,
        "probability": image.probability,
        "suggestion": image.suggestion,
    }


def _write(path: Path, schema: Any, rows: list[dict[str, Any]]) -> None:
    write_columns(path, schema, {name: [row.get(name) for row in rows] for name in schema.columns})
