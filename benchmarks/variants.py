"""Our own contender under other settings of the machine, to see what each of them costs or brings."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from benchmarks.contenders import Contender, Task


@dataclass(frozen=True)
class Variant:
    """One way to run it.

    Args:
        deterministic: whether torch must take deterministic kernels.
        settings: keywords for our contender's `build`, beside the task.
    """

    deterministic: bool
    settings: dict[str, Any]


VARIANTS = {
    "deterministic": Variant(True, {}),
    "free": Variant(False, {}),
}


def varied(name: str) -> Callable[[Task], Contender]:
    """A function that builds our contender that way."""
    variant = VARIANTS[name]

    def build(task: Task) -> Contender:
        made: Contender = import_module("benchmarks.contenders.own").build(task, **variant.settings)
        torch.use_deterministic_algorithms(variant.deterministic)
        return made

    return build
