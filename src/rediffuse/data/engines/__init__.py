"""Where functions run over shards. A new engine is one file that follows `Engine`, and one line in ENGINES."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from rediffuse.data.engines.engine import Engine
from rediffuse.data.engines.local import Local
from rediffuse.data.engines.ray import Ray

__all__ = ["ENGINES", "Engine", "open_engine"]

ENGINES: Mapping[str, Callable[[int], AbstractContextManager[Engine]]] = {"local": Local, "ray": Ray}
"""runtime.engine -> the engine of so many workers."""


def open_engine(name: str, workers: int) -> AbstractContextManager[Engine]:
    """The engine `name` for the length of a `with` block; its workers are started when first needed.

    Raises:
        UserError: the engine's package is missing.
    """
    return ENGINES[name](workers)
