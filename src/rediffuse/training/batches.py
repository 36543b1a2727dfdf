"""The examples of step k, as a function of (seed, k): shuffled passes over the split, drawn without replacement."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from rediffuse.data.arrays import StoredExamples
from rediffuse.training.loading import Microbatch, Reader, reading_ahead
from rediffuse.training.order import Order
from rediffuse.training.resident import Resident, fits, sent_ahead


class Batches:
    """Batches of a split, addressed by step and microbatch.

    Args:
        images: N×C×H×W, uint8, in memory or memory-mapped.
        labels: N class indices; None for unlabelled data.
        seed, batch_size, microbatch: see `Order`.
        device: where a batch is handed over.
        loaders: processes that read ahead in `stream`; 0: this one reads.
        stored: the same images in their file, from where the loaders read them; without it each gets a copy.
        resident: keep the split on the device, where loaders have nothing to do; None: where it is a GPU and has room.
            The bytes are the same.
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
        resident: bool | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.device = device
        self._order = Order(seed=seed, count=len(images), batch_size=batch_size, microbatch=microbatch)
        self._loaders = loaders
        self._stored = stored
        self._resident = resident

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
        steps = range(first_step, last_step)
        # Asked now, when the model has taken its room.
        if fits(self.images, self.labels, self.device) if self._resident is None else self._resident:
            held = Resident(self.images, self.labels, self._order, self.device)
            return nullcontext(_scaled(*held.read(step, index)) for step in steps for index in indices)
        if not self._loaders or not steps:
            return nullcontext(self.load(step, index) for step in steps for index in indices)
        reader = Reader(self._stored or self.images, self.labels, self._order)
        return reading_ahead(
            reader, steps, indices, self._loaders, self._handed_over, pinned=self.device.type == "cuda"
        )

    def _handed_over(self, read: Microbatch) -> tuple[Tensor, Tensor | None]:
        images, labels = read.tensors()
        return _scaled(sent_ahead(images, self.device), None if labels is None else sent_ahead(labels, self.device))


def _scaled(images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return to_float(images), labels


def to_float(images: Tensor) -> Tensor:
    """0 ... 255 -> [-1, 1], float32."""
    return images.float() / 127.5 - 1
