"""Bars that count images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def image_bar(what: str, total: int | None, *, shown: bool) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, nowhere else; yields the function that says how many images more are done.

    Args:
        total: images in all; None: unknown.
    """
    with tqdm(total=total, unit="img", desc=what, disable=None if shown else True) as bar:
        yield bar.update
