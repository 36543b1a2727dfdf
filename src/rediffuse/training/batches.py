"""The examples of step k, as a function of (seed, k): shuffled passes over the split, drawn without replacement."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rediffuse.data.arrays import StoredExamples
from rediffuse.randomness import generator
from rediffuse.training.loading import Microbatch, Reader, reading_ahead


@dataclass(frozen=True)
class Order:
    """Which rows come when.

    Args:
        seed: of the order.
        count: rows there are.
        batch_size: examples a step; runs on from one pass into the next.
        microbatch: examples in one forward pass; divides batch_size.
    """

    seed: int
    count: int
    batch_size: int
    microbatch: int

    def rows(self, step: int, index: int) -> np.ndarray:
        """The rows of microbatch `index` of step `step`, both from 0."""
        first = step * self.batch_size + index * self.microbatch
        epochs, places = np.divmod(np.arange(first, first + self.microbatch), self.count)
        return np.array(
            [_pass(self.seed, self.count, int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)]
        )


# A batch crosses at most two passes, unless the split is smaller than a batch.
@lru_cache(maxsize=4)
def _pass(seed: int, count: int, epoch: int) -> np.ndarray:
    """All rows in the order of one pass."""
    order: np.ndarray = torch.randperm(count, generator=generator(seed, "train/order", epoch)).numpy()
    return order


class Batches:
    """Batches of a split, addressed by step and microbatch.

    Args:
        images: N×C×H×W, uint8, in memory or memory-mapped.
        labels: N class indices; None for unlabelled data.
        seed, batch_size, microbatch: see `Order`.
        device: where a batch is handed over.
        loaders: processes that read ahead in `stream`; 0: this one reads.
        stored: the same images in their file, from where the loaders read them; without it each gets a copy.
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
        loaders: int = 0,
        stored: StoredExamples | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.device = device
        self._order = Order(seed=seed, count=len(images), batch_size=batch_size, microbatch=microbatch)
        self._loaders = loaders
        self._stored = stored

    def rows(self, step: int, index: int) -> np.ndarray:
        """The rows of the split in microbatch `index` of step `step`, both from 0."""
        return self._order.rows(step, index)

    def load(self, step: int, index: int) -> tuple[Tensor, Tensor | None]:
        """That microbatch's images on [-1, 1], microbatch×C×H×W, and labels."""
        return self._handed_over(Reader(self.images, self.labels, self._order).read(step, index))

    def stream(
        self, first_step: int, last_step: int, indices: Sequence[int]
    ) -> AbstractContextManager[Iterator[tuple[Tensor, Tensor | None]]]:
        """What `load` gives for each step from `first_step` to before `last_step` and each of `indices`, in that order.

        Args:
            indices: the microbatches of a step that this process computes.

        Leaving the context ends the loaders.

        Raises:
            TryAgainError: when the next one is asked for and a loader was killed.
        """
        if not self._loaders or last_step <= first_step:
            steps = range(first_step, last_step)
            return nullcontext(self.load(step, index) for step in steps for index in indices)
        reader = Reader(self._stored or self.images, self.labels, self._order)
        return reading_ahead(
            reader, range(first_step, last_step), indices, self._loaders, self._handed_over, pinned=self._pinned
        )

    @property
    def _pinned(self) -> bool:
        return self.device.type == "cuda"

    def _handed_over(self, read: Microbatch) -> tuple[Tensor, Tensor | None]:
        images, labels = read.tensors()
        # From pinned memory without waiting: the order of the device's work keeps the copy before its use.
        images = to_float(images.to(self.device, non_blocking=self._pinned))
        return images, None if labels is None else labels.to(self.device, non_blocking=self._pinned)


def to_float(images: Tensor) -> Tensor:
    """0 ... 255 -> [-1, 1], float32."""
    return images.float() / 127.5 - 1
