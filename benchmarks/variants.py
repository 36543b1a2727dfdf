"""Our own contender under other settings of the machine, to see what each of them costs or brings."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from benchmarks.contenders import Contender, Task

VARIANTS: dict[str, dict[str, Any]] = {
    "deterministic": {},
    "free": {"deterministic": False},
    "fp32": {"changes": {"model.precision": "fp32"}},
    "channels_last": {"changes": {"runtime.profile": "channels_last"}},
    "compiled": {"changes": {"runtime.profile": "compiled"}},
    "graphs": {"changes": {"runtime.profile": "graphs"}},
    "compiled free": {"changes": {"runtime.profile": "compiled"}, "deterministic": False},
}
"""Keywords for `benchmarks.contenders.own.build`; the first is what a stage does."""


def varied(name: str) -> Callable[[Task], Contender]:
    """A function that builds our contender that way."""
    return _ours(**VARIANTS[name])


def changed(changes: Mapping[str, Any]) -> Callable[[Task], Contender]:
    """A function that builds our contender with some values of params.yaml changed, by their dotted names."""
    return _ours(changes=changes)


def _ours(**settings: Any) -> Callable[[Task], Contender]:
    def build(task: Task) -> Contender:
        made: Contender = import_module("benchmarks.contenders.own").build(task, **settings)
        return made

    return build
