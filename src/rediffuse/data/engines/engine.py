"""What every engine gives: one function over many items, their results in order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Where a function runs over shards. The results are the same whatever the engine and its number of workers."""

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """The results in the order of the items, each as soon as it and those before it are there.

        Args:
            function: pure; a module's own function, or a functools.partial of one, so that it can be pickled. Results
                travel between processes: give the path of what is large.
            items: small and picklable. Only a few of them are in work at any time, none before the first result is
                asked for, and none any more once the iterator is closed or has raised.

        Raises:
            TryAgainError: a worker was killed. What the function itself raises arrives as it is.
        """
