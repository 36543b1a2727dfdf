"""The examples of step k, as a function of (seed, k): shuffled passes over the split, drawn without replacement."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rediffuse.randomness import generator


class Batches:
    """Batches of a split, addressed by step and microbatch.

    Args:
        images: N×C×H×W, uint8, in memory or memory-mapped.
        labels: N class indices; None for unlabelled data.
        seed: of the order.
        batch_size: examples a step; runs on from one pass into the next.
        microbatch: examples in one forward pass; divides batch_size.
        device: where a batch is handed over.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None,
        *,
        seed: int,
        batch_size: int,
        microbatch: int,
        device: torch.device,
    ) -> None:
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.microbatch = microbatch
        self.device = device
        # A batch crosses at most two passes, unless the split is smaller than a batch.
        self._order = lru_cache(maxsize=4)(
            lambda epoch: torch.randperm(len(images), generator=generator(seed, "train/order", epoch)).numpy()
        )

    def rows(self, step: int, index: int) -> np.ndarray:
        """The rows of the split in microbatch `index` of step `step`, both from 0."""
        first = step * self.batch_size + index * self.microbatch
        positions = np.arange(first, first + self.microbatch)
        epochs, places = np.divmod(positions, len(self.images))
        return np.array([self._order(int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)])

    def load(self, step: int, index: int) -> tuple[Tensor, Tensor | None]:
        """That microbatch's images on [-1, 1], microbatch×C×H×W, and labels."""
        rows = self.rows(step, index)
        images = to_float(torch.from_numpy(self.images[rows]).to(self.device))
        labels = None if self.labels is None else torch.from_numpy(self.labels[rows]).to(self.device)
        return images, labels


def to_float(images: Tensor) -> Tensor:
    """0 ... 255 -> [-1, 1], float32."""
    return images.float() / 127.5 - 1
