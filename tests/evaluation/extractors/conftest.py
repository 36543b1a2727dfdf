"""Settings for any extractor, files that inception and dinov2 take for their weights, and images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rediffuse.evaluation.extractors import ExtractorSettings, Images
from rediffuse.evaluation.extractors.weights import INCEPTION

TINY_VIT = "test_vit.r160_in1k"
"""timm's own for tests: 160 pixels a side, 64 features."""

Settings = Callable[..., ExtractorSettings]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose folder of weights is `tmp_path / "weights"`, which is empty."""
    (tmp_path / "weights").mkdir()

    def make(*names: str, **changes: Any) -> ExtractorSettings:
        common = {"width": 8, "features": 16, "pca_dimensions": 12, "dinov2": TINY_VIT, "custom": None}
        return ExtractorSettings(seed=0, extractors=names, weights=tmp_path / "weights", **(common | changes))

    return make


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the name of the trained ones."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, state: Any) -> None:  # type: ignore[override]
            """Keep what was drawn."""

    path = tmp_path_factory.mktemp("inception") / INCEPTION
    torch.save({}, path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Untrained("inception", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def vit_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the tiny transformer."""
    import timm
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("vit") / f"{TINY_VIT}.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(TINY_VIT, pretrained=False, num_classes=0)
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def pictures() -> Images:
    """20 colour images of 12 × 12 pixels."""
    return np.random.default_rng(0).integers(0, 256, (20, 3, 12, 12), np.uint8)
