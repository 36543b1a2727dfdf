"""Every extractor by its name in params.yaml."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from rediffuse.evaluation.extractors.convolutional import make_random, read_random, read_trained
from rediffuse.evaluation.extractors.custom import read_custom
from rediffuse.evaluation.extractors.dinov2 import read_dinov2
from rediffuse.evaluation.extractors.extractor import Extractor, ExtractorSettings, Images
from rediffuse.evaluation.extractors.inception import read_inception
from rediffuse.evaluation.extractors.pca import make_pca, read_pca


@dataclass(frozen=True)
class Kind:
    """How an extractor comes to be.

    Args:
        read: (settings, data/reference/, device) -> the extractor; UserError where a file is missing or another's.
        make: (settings, data/reference/, training images, device): leaves in the folder what `read` wants there; None:
            the classifier, which the stage trains in any case, or one whose file lies in `reference.weights`.
        external: its file lies in `reference.weights`, so that it can be read before anything is trained.
    """

    read: Callable[[ExtractorSettings, Path, torch.device], Extractor]
    make: Callable[[ExtractorSettings, Path, Images, torch.device], None] | None = None
    external: bool = False


EXTRACTORS: Mapping[str, Kind] = {
    "classifier": Kind(read_trained),
    "pca": Kind(read_pca, make=make_pca),
    "random": Kind(read_random, make=make_random),
    "inception": Kind(read_inception, external=True),
    "dinov2": Kind(read_dinov2, external=True),
    "custom": Kind(read_custom, external=True),
}


def check_external(settings: ExtractorSettings, images: Images, folder: Path, device: torch.device) -> None:
    """Read each extractor that needs nothing of the stage, and let it describe a few images.

    Raises:
        UserError: a library, file or class is missing, or gives no features; better now than after the training.
    """
    for name in settings.extractors:
        if EXTRACTORS[name].external:
            EXTRACTORS[name].read(settings, folder, device).extract(images[:2])
