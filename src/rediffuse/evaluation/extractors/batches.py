"""A network over many rows: one row out for each row in, the same bits whatever stands beside it.

A matrix product over 2 rows and over 256 rows may round differently, so the network always sees batches of one fixed
size, the last one padded with black images whose rows are thrown away.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.extractor import Features

BATCH = 256
LARGE_BATCH = 16
"""For networks whose activations of 256 images would take gigabytes."""


@torch.no_grad()
def in_batches(
    function: Callable[[Tensor], Tensor], rows: NDArray[Any], columns: int, device: torch.device, batch: int = BATCH
) -> Features:
    """What `function` makes of each row of `rows` (N, ...), as float32 (N, columns)."""
    result = np.empty((len(rows), columns), np.float32)
    for first in range(0, len(rows), batch):
        some = rows[first : first + batch]
        padded = np.zeros((batch, *rows.shape[1:]), rows.dtype)
        padded[: len(some)] = some
        result[first : first + batch] = function(torch.from_numpy(padded).to(device)).cpu().numpy()[: len(some)]
    return result


def finite(features: Features, who: str, advice: str) -> Features:
    """The features themselves.

    Args:
        who: names the extractor and its key.
        advice: what to do.

    Raises:
        UserError: some are infinite or no numbers.
    """
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise UserError(f"{who} gives {bad.sum()} of {len(features)} images features that are not finite; {advice}")
    return features
