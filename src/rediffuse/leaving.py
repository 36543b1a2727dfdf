"""Leaving well."""

from collections.abc import Iterator
from contextlib import contextmanager


class Asked:
    """Whether this process was asked to leave."""

    reason: str | None = None

    def check(self) -> None:
        """Raise where it was."""


@contextmanager
def deferred() -> Iterator[Asked]:
    """Note it, and let the block decide when."""
    yield Asked()
