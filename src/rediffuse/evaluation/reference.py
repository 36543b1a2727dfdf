"""What the stage `reference` leaves behind: the classifier of real images, and its features of every real split.

Features of real images are computed once and read by every evaluation after, however many models are compared.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.classifier import Classifier, load_classifier, save_classifier
from rediffuse.evaluation.extractors.features import Features


@dataclass(frozen=True)
class Reference:
    """The extractor and what it says of the real images.

    Args:
        classifier: trained on the real training split; without classes, with random weights drawn by key.
        features: of the splits train, val and test, each (N, d), in the order of the split.
        digest: hex SHA-256 of the classifier's file; scores by another extractor are other scores.
    """

    classifier: Classifier
    features: dict[str, Features]
    digest: str


def write_reference(folder: Path, classifier: Classifier, features: dict[str, Features]) -> None:
    """Write classifier and features into `folder`, each file by replace, the same bytes for the same content."""
    save_classifier(classifier, folder / "classifier.safetensors")
    with files.replacing(folder / "features.safetensors") as temporary:
        save_file(features, temporary)


def read_reference(folder: Path, device: torch.device) -> Reference:
    """What `write_reference` wrote.

    Raises:
        UserError: a file is missing or holds something else.
    """
    path = folder / "features.safetensors"
    try:
        features = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} can't be read: {error}; run the stage reference again") from None
    weights = folder / "classifier.safetensors"
    return Reference(load_classifier(weights, device), features, files.sha256(weights))
