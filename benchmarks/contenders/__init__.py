"""Who is measured against whom: rediffuse, two libraries from the registry and the article's own loop, behind one face.

Each is used as its own project documents it, on the same images with about as many weights; what that leaves open
(precision, layout, loop, schedule, sampler) is each one's own best documented setting, told in `setting`.
A module is imported when its contender is asked for, so that a missing peer stops nobody else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Task:
    """What everybody trains on.

    Args:
        images: N×C×H×W, uint8.
        labels: N class indices, int64.
        classes: how many there are.
        batch_size: images in one optimizer step.
        device: where it trains and samples.
        parameters: about so many weights, each contender takes the width that comes nearest; 0: its own default.
        seconds: how long it will be trained, if that is known; only a learning-rate schedule may use it.
        seed: of everything drawn.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: int
    batch_size: int
    device: torch.device
    parameters: int = 0
    seconds: float | None = None
    seed: int = 0


class Contender(Protocol):
    """One project's way to train a diffusion model and to draw from it; made from a `Task`, with nothing timed yet.

    Attributes:
        name: "rediffuse", "diffusers", "denoising-diffusion-pytorch" or "article".
        setting: one line: network, precision, loop, sampler; "without classes" where its images have none.
        parameters: weights that are trained.
        evaluations: of the network for one of its images.
        task: what it was made from.
    """

    name: str
    setting: str
    parameters: int
    evaluations: int
    task: Task

    def train(self, steps: int) -> None:
        """So many more optimizer steps by its own loop and data loading; returns when the device has finished."""

    def images(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """One image for each label, len(labels)×C×H×W, uint8, by its own sampling from its averaged weights."""

    def flops(self) -> float:
        """Of one example's forward pass, a multiplication and an addition counted as two."""


def _in(module: str) -> Callable[[Task], Contender]:
    """The contender that `benchmarks.contenders.<module>` builds."""

    def build(task: Task) -> Contender:
        contender: Contender = import_module(f"{__name__}.{module}").build(task)
        return contender

    return build


CONTENDERS: dict[str, Callable[[Task], Contender]] = {
    "rediffuse": _in("own"),
    "diffusers": _in("hf_diffusers"),
    "denoising-diffusion-pytorch": _in("lucidrains"),
    "article": _in("article"),
}
