"""Networks: functions of a noisy image, its noise level and a condition. They know nothing of any process.

A new one is a file here and a line in NETWORKS.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from rediffuse.networks.article_unet import ArticleUnet
from rediffuse.networks.condition import NO_LABEL, Condition
from rediffuse.networks.unet import Unet

__all__ = ["NETWORKS", "NO_LABEL", "ArticleUnet", "Condition", "Unet", "build_network"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {"unet": Unet, "article_unet": ArticleUnet}


def build_network(name: str, shape: tuple[int, int, int], classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """The network of that name for images of `shape` (channels, height, width) and `classes` labels (0: none)."""
    return NETWORKS[name](shape, classes, **settings)
