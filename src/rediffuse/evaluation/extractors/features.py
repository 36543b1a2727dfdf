"""Features of a set of images: one row an image, the same bits whatever stands beside it.

A matrix product over 2 rows and over 256 rows may round differently, so the network always sees batches of one fixed
size, the last one padded with black images whose rows are thrown away.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rediffuse.evaluation.extractors.classifier import Classifier, Images, Labels

Features = NDArray[np.float32]

BATCH = 256


@torch.no_grad()
def extract(network: Classifier, images: Images) -> Features:
    """The feature vectors of uint8 images (N, C, H, W), as float32 (N, features), computed where the network lies."""
    return _in_batches(network.features, images, network.shape.features, network.scale.device)


@torch.no_grad()
def classify(network: Classifier, features: Features) -> Labels:
    """The class of each row of `features` (N, d) by the network's head, as int64 (N,)."""
    logits = _in_batches(network.logits, features, network.shape.classes, network.scale.device)
    return np.asarray(logits.argmax(axis=1), np.int64)


def _in_batches(
    function: Callable[[Tensor], Tensor], rows: NDArray[Any], columns: int, device: torch.device
) -> Features:
    result = np.empty((len(rows), columns), np.float32)
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        padded = np.zeros((BATCH, *rows.shape[1:]), rows.dtype)
        padded[: len(batch)] = batch
        result[first : first + BATCH] = function(torch.from_numpy(padded).to(device)).cpu().numpy()[: len(batch)]
    return result
