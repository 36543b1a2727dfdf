"""Images on request, each the bytes that the stage `sample` makes for the same (seed, index, label)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rediffuse import runtime
from rediffuse.acceleration import accelerate, profile
from rediffuse.model import Model, load_model
from rediffuse.params import RuntimeParams, SampleParams
from rediffuse.sampling import Sampling, class_mix

UNLABELLED = 100_000
"""Images of a seed that may be asked for without a label: the mix of classes is counted from the first."""


@dataclass(frozen=True)
class Wanted:
    """An image that somebody asks for.

    Args:
        seed: any integer.
        index: of the image among those of this seed, from 0.
        label: a class's name; None: the class that the pipeline gives this index.
    """

    seed: int
    index: int = 0
    label: str | None = None


@dataclass(frozen=True)
class Answers:
    """A model that answers.

    Args:
        model: the weights that are sampled.
        sampling: how.
        shares: of the classes, where no label is given; None: every class alike.
    """

    model: Model
    sampling: Sampling
    shares: Mapping[str, float] | None

    @classmethod
    def load(cls, settings: Path, weights: Path, reference: Path | None) -> "Answers":
        """What `package.write_parts` wrote.

        Raises:
            UserError: a file is missing, or no model of rediffuse's.
        """
        sections = json.loads(settings.read_bytes())
        sample = SampleParams.model_validate(sections["sample"])
        settled = RuntimeParams.model_validate(sections["runtime"])
        device = runtime.start(settled)
        model = load_model(weights, device)
        earlier = load_model(reference, device).denoiser if reference else None
        for denoiser in filter(None, (model.denoiser, earlier)):
            accelerate(denoiser.network, profile(settled, device))
        return cls(model, Sampling.of(model, sample, device, reference=earlier), sample.classes)

    def images(self, wanted: Sequence[Wanted]) -> list[np.ndarray]:
        """The images, C×H×W, uint8, in the order in which they were asked for.

        None depends on the others that are asked for beside it.

        Raises:
            ValueError: an index below 0, or a label that the model does not know, or is not told.
        """
        labels = self._labels(wanted)
        drawn: dict[int, np.ndarray] = {}
        for seed, rows in _by_seed(wanted):
            indices = [wanted[row].index for row in rows]
            images = self.sampling.chosen(np.array([labels[row] for row in rows]), indices, seed)
            drawn |= zip(rows, images, strict=True)
        return [drawn[row] for row in range(len(wanted))]

    def _labels(self, wanted: Sequence[Wanted]) -> list[int]:
        classes = self.model.classes
        for each in wanted:
            if each.index < 0:
                raise ValueError(f"index is {each.index}; 0 or more is allowed")
            if each.label is not None and each.label not in classes:
                allowed = f"the classes are {', '.join(classes)}" if classes else "this model knows no labels"
                raise ValueError(f"label is {each.label!r}; {allowed}")
            if each.label is None and each.index >= UNLABELLED and classes:
                raise ValueError(f"index is {each.index}; from {UNLABELLED} on a label must be given")
        count = max((each.index + 1 for each in wanted if each.label is None and classes), default=0)
        mix = _mix(count, classes, self.shares)
        chosen = [classes.index(each.label) if each.label else int(mix[each.index]) for each in wanted if classes]
        return chosen or [-1] * len(wanted)


def _mix(count: int, classes: Sequence[str], shares: Mapping[str, float] | None) -> np.ndarray:
    """The labels of `count` images or more: counted once for all that ask, and to twice as far for who asks further."""
    length = 1 << max(count - 1, 0).bit_length()
    return _counted(length, tuple(classes), None if shares is None else tuple(shares.items()))


@lru_cache(maxsize=32)
def _counted(length: int, classes: tuple[str, ...], shares: tuple[tuple[str, float], ...] | None) -> np.ndarray:
    return class_mix(length, classes, None if shares is None else dict(shares))


def _by_seed(wanted: Sequence[Wanted]) -> Iterator[tuple[int, list[int]]]:
    """Each seed, and the places where it is asked for."""
    for seed in dict.fromkeys(each.seed for each in wanted):
        yield seed, [row for row, each in enumerate(wanted) if each.seed == seed]
