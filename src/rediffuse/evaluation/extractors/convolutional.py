"""The extractors `classifier` and `random`: one small network, trained on the real images or with its random weights.

Random convolutions know nothing of the labels, which the classifier learned from and the judge of classes shares: where
the two disagree about a model, what it improves is what the labels tell apart, or only that.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from rediffuse import files
from rediffuse.evaluation.extractors.batches import finite
from rediffuse.evaluation.extractors.classifier import Classifier, Shape, load_classifier, save_classifier
from rediffuse.evaluation.extractors.extractor import ExtractorSettings, Features, Images
from rediffuse.evaluation.extractors.features import extract
from rediffuse.evaluation.row_order import own_order
from rediffuse.randomness import generator

_STREAM = "reference/random"
_CALIBRATED_ON = 4096


@dataclass(frozen=True)
class ConvolutionalExtractor:
    """The features of one `Classifier`, whose file the digest is of."""

    name: str
    digest: str
    network: Classifier

    @classmethod
    def read(cls, name: str, path: Path, device: torch.device) -> "ConvolutionalExtractor":
        """The network that `save_classifier` wrote to `path`.

        Raises:
            UserError: the file is missing or holds something else.
        """
        return cls(name, files.sha256(path) if path.is_file() else "", load_classifier(path, device))

    def extract(self, images: Images) -> Features:
        found = extract(self.network, images)
        return finite(found, f"the extractor {self.name}", "its training failed: lower reference.lr")


def read_trained(settings: ExtractorSettings, folder: Path, device: torch.device) -> ConvolutionalExtractor:  # noqa: ARG001
    """The classifier that the stage `reference` has trained."""
    return ConvolutionalExtractor.read("classifier", folder / "classifier.safetensors", device)


def make_random(settings: ExtractorSettings, folder: Path, images: Images, device: torch.device) -> None:
    """Draw the weights by key and scale the features to a mean square of 1 on some of `images`; write the network."""
    _, channels, height, width = images.shape
    shape = Shape.of((channels, height, width), classes=0, base=settings.width, features=settings.features)
    network = Classifier(shape, generator(settings.seed, f"{_STREAM}/weights")).placed(device)
    some = torch.randperm(len(images), generator=generator(settings.seed, f"{_STREAM}/scale"))[:_CALIBRATED_ON]
    network.calibrate(images[own_order(images)[some.sort().values.numpy()]])
    save_classifier(network, folder / "random.safetensors")


def read_random(settings: ExtractorSettings, folder: Path, device: torch.device) -> ConvolutionalExtractor:  # noqa: ARG001
    """The network that `make_random` wrote."""
    return ConvolutionalExtractor.read("random", folder / "random.safetensors", device)
