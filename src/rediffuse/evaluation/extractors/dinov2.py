"""The extractor `dinov2`: a vision transformer that was trained without labels (Oquab et al., 2024), from timm.

Distances on its features follow what people find realistic better than Inception's (Stein et al., 2023). As there, the
network sees 224 × 224 pixels, where timm's name stands for 518: an eighth of the time, with the position embedding
resampled by timm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.batches import LARGE_BATCH, finite, in_batches
from rediffuse.evaluation.extractors.extractor import ExtractorSettings, Features, Images, described
from rediffuse.evaluation.extractors.weights import check_library, check_model, needed_file

SIDE = 224
"""Pixels a side that the network sees, at most."""


@dataclass(frozen=True)
class Dinov2Extractor:
    """The features that timm's network gives without its head: of a DINOv2, the class token after the last norm.

    Args:
        side: pixels a side that the network sees.
        mean, deviation: of the three channels, on [0, 1], that it was trained with.
        dimensions: of its features.
    """

    digest: str
    network: Callable[[Tensor], Tensor]
    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    dimensions: int
    device: torch.device

    name = "dinov2"

    def extract(self, images: Images) -> Features:
        found = in_batches(
            lambda batch: self.network(self.prepared(batch)), images, self.dimensions, self.device, LARGE_BATCH
        )
        return finite(found, "the extractor dinov2", "its file in reference.weights is damaged: fetch it again")

    def prepared(self, images: Tensor) -> Tensor:
        """uint8 images (B, C, H, W), grey or RGB, as the network wants them: (B, 3, side, side), normalised."""
        x = images.expand(-1, 3, -1, -1).float() / 255
        if x.shape[2:] != (self.side, self.side):
            x = interpolate(x, (self.side, self.side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        mean, deviation = (
            torch.tensor(values, device=x.device)[:, None, None] for values in (self.mean, self.deviation)
        )
        return (x - mean) / deviation


def read_dinov2(settings: ExtractorSettings, folder: Path, device: torch.device) -> Dinov2Extractor:  # noqa: ARG001
    """The network that `reference.dinov2` names, with the weights in `reference.weights`.

    Raises:
        UserError: timm or the file is missing, timm knows no such network, or the file holds another's weights.
    """
    check_library("dinov2")
    import timm
    from timm.models import load_state_dict

    check_model(settings.dinov2)
    path = needed_file("dinov2", settings)
    trained = timm.get_pretrained_cfg(settings.dinov2)
    side = min(trained.input_size[-1], SIDE)
    resampled = {"img_size": side} if trained.fixed_input_size and side < trained.input_size[-1] else {}
    try:
        state = load_state_dict(str(path))
        # Of a network with classes the file holds a head as well.
        for layer in [trained.classifier] if isinstance(trained.classifier, str) else trained.classifier or ():
            state = {name: value for name, value in state.items() if not name.startswith(f"{layer}.")}
        # timm overlooks what is missing in the file where it takes a head away; without classes it does not.
        overlay = {"state_dict": state, "num_classes": 0, "custom_load": False}
        # Layers draw their first weights from the global generator.
        with torch.random.fork_rng(devices=[]):
            network: Any = timm.create_model(
                settings.dinov2, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, **resampled
            )
        network.pretrained_cfg.pop("state_dict", None)
    # Another kind for each way a file can be damaged, pickle's own among them.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path} does not fit reference.dinov2 {settings.dinov2}: {reason}; "
            "put the weights of that network there, or name the network they belong to"
        ) from None
    digest = described(
        extractor="dinov2", model=settings.dinov2, side=side, resize="bicubic", weights=files.sha256(path)
    )
    return Dinov2Extractor(
        digest=digest,
        network=network.to(device).eval(),
        side=side,
        mean=trained.mean,
        deviation=trained.std,
        dimensions=network.num_features,
        device=device,
    )
