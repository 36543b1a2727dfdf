"""What an extractor is, and what is said of it in params.yaml. Needs no torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rediffuse.params import ReferenceParams

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Features = NDArray[np.float32]


class Extractor(Protocol):
    """Describes each image by a vector of numbers, the same whatever stands beside the image."""

    @property
    def name(self) -> str:
        """As `reference.extractors` names it."""
        ...

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that decides its features; scores by another digest are other scores."""
        ...

    def extract(self, images: Images) -> Features:
        """uint8 images (N, C, H, W) as features float32 (N, d), a row an image, in their order."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings:
    """Which extractors there are, and what they are made from.

    Args:
        seed: key of all that is drawn.
        extractors: names; the first gives the main scores.
        width, features: of the convolutions of `classifier` and `random`.
        pca_dimensions: of `pca`, at most.
        weights: the folder with the files of `inception`, `dinov2` and `custom`.
        dinov2: timm's name of the network.
        custom: a file of the folder `weights`, or module:Class.
    """

    seed: int
    extractors: tuple[str, ...]
    width: int
    features: int
    pca_dimensions: int
    weights: Path
    dinov2: str
    custom: str | None

    @classmethod
    def of(cls, section: ReferenceParams, *, seed: int, root: Path) -> "ExtractorSettings":
        """As the section `reference` has it, in the workspace at `root`."""
        chosen = {"extractors", "width", "features", "pca_dimensions", "dinov2", "custom"}
        return cls(seed=seed, weights=root / section.weights, **section.model_dump(include=chosen))


def described(**facts: Any) -> str:
    """The digest of an extractor that its name, the digest of its weights and a few settings decide."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
