"""The extractor `inception`: the InceptionV3 of FID, as torch-fidelity has it, with 2048 features.

The network, its weights and the way images are resized (as TensorFlow 1 did) are those of published FIDs; the sizes of
the sets are not, so a number still only compares with others of the same protocol.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.batches import LARGE_BATCH, finite, in_batches
from rediffuse.evaluation.extractors.extractor import ExtractorSettings, Features, Images, described
from rediffuse.evaluation.extractors.weights import check_library, needed_file

DIMENSIONS = 2048


@dataclass(frozen=True)
class InceptionExtractor:
    """The features before the last layer, unscaled, as FID and KID are defined on them."""

    digest: str
    network: Callable[[Tensor], tuple[Tensor, ...]]
    device: torch.device

    name = "inception"

    def extract(self, images: Images) -> Features:
        def features(batch: Tensor) -> Tensor:
            return self.network(batch.expand(-1, 3, -1, -1))[0]

        found = in_batches(features, images, DIMENSIONS, self.device, LARGE_BATCH)
        return finite(found, "the extractor inception", "its file in reference.weights is damaged: fetch it again")


def read_inception(settings: ExtractorSettings, folder: Path, device: torch.device) -> InceptionExtractor:  # noqa: ARG001
    """The network with the weights in `reference.weights`.

    Raises:
        UserError: torch-fidelity or the file is missing, or the file holds something else.
    """
    check_library("inception")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = needed_file("inception", settings)
    try:
        # torch-fidelity would run what a file brings along; what passes here holds tensors alone.
        torch.load(path, map_location="cpu", weights_only=True)
        # Its layers draw their first weights from the global generator.
        with torch.random.fork_rng(devices=[]):
            network: Any = FeatureExtractorInceptionV3(
                "inception", [str(DIMENSIONS)], feature_extractor_weights_path=str(path)
            )
    # Another kind for each way a file can be damaged, pickle's own among them.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path} holds no InceptionV3 weights of torch-fidelity: {reason}; delete it and fetch it again"
        ) from None
    digest = described(extractor="inception", features=DIMENSIONS, weights=files.sha256(path))
    return InceptionExtractor(digest, network.to(device).eval(), device)
