"""A model that draws in no time: each image is a digest of what is wanted."""

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from rediffuse.params import SampleParams
from rediffuse.prompts import Term, Vocabulary
from rediffuse.serving.answers import Moment
from rediffuse.serving.wanted import Settings, Wanted
from tests.data.planted import params_with

CLASSES = ("cat", "dog", "owl")


@cache
def _sample(**changes: Any) -> SampleParams:
    return params_with(**{f"sample__{name}": value for name, value in changes.items()}).sample


class StandIn:
    """What jobs see of `Answers`.

    Args:
        identity: of the model; two of different identity draw different images.
        sample: changes of the section `sample`.
    """

    classes = CLASSES
    shape = (1, 8, 8)
    samplers = ("dpmpp_2m", "ddim")
    vocabulary = Vocabulary(CLASSES, {}, ())
    why_not_guided = None
    runtime = device = None
    card = ""

    def __init__(self, identity: str = "a" * 64, **sample: Any) -> None:
        self.sample = _sample(**({"batch_size": 4} | sample))
        self.identity = identity
        self.batch_size = self.sample.batch_size
        self.drawn: list[Wanted] = []
        """All that was drawn, in its order."""

    @property
    def settings(self) -> Settings:
        return Settings(self.sample.sampler, self.sample.steps, self.sample.guidance, self.sample.temperature)

    def label_at(self, index: int) -> str:
        return CLASSES[index % 3]

    def check(self, settings: Settings) -> None:
        pass

    def check_terms(self, terms: Sequence[Term]) -> None:
        pass

    def kind(self, wanted: Wanted) -> Hashable:
        return wanted.settings

    def moments(self, wanted: Sequence[Wanted]) -> Iterator[Moment]:
        for done in (0, 1):
            yield Moment(done, 1, 1.0 - done, lambda: np.stack(self.images(wanted)))

    def images(self, wanted: Sequence[Wanted]) -> list[np.ndarray]:
        self.drawn += wanted
        return [self._image(each) for each in wanted]

    def _image(self, wanted: Wanted) -> np.ndarray:
        digest = hashlib.sha512(f"{self.identity} {wanted}".encode()).digest()
        return np.frombuffer(digest, np.uint8).reshape(self.shape)
