"""Draw what is missing of a job; however often it is stopped on the way, the folder ends with the same bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rediffuse.serving.answers import Answers, batches
from rediffuse.serving.jobs.folder import JobFolder
from rediffuse.serving.jobs.items import Item
from rediffuse.serving.wanted import Wanted

Draw = Callable[[Sequence[Wanted]], Sequence[np.ndarray]]
"""Images of one kind, at most a batch of them, C×H×W, uint8, in their order."""


@dataclass(frozen=True)
class Tally:
    """How many images of a job were there already, and how many were drawn."""

    there: int
    drawn: int


def complete(
    folder: JobFolder,
    items: Sequence[Item],
    answers: Answers,
    draw: Draw,
    seen: Callable[[int], object] = lambda _: None,
) -> Tally:
    """Draw the images that are not there yet, and write the manifest.

    What shares a kind is drawn together; the manifest keeps the order of the items. On the way it lists the images
    before the first missing one.

    Args:
        answers: the model that `draw` asks.
        seen: told how many images more are there.
    """
    digests = {item.file: digest for item in items if (digest := folder.digest(item))}
    there = len(digests)
    seen(there)
    missing = [item for item in items if item.file not in digests]
    listed = until = 0
    for batch in batches(answers, [item.wanted for item in missing]):
        chunk = [missing[place] for place in batch]
        for item, image in zip(chunk, draw([item.wanted for item in chunk]), strict=True):
            digests[item.file] = folder.keep(item, image)
        seen(len(chunk))
        while until < len(items) and items[until].file in digests:
            until += 1
        # Written anew when it is half as long again: all in all so no more than three times the whole is written.
        if until > 1.5 * listed:
            _list(folder, items[:until], digests)
            listed = until
    _list(folder, items, digests)
    return Tally(there, len(missing))


def _list(folder: JobFolder, items: Sequence[Item], digests: dict[str, str]) -> None:
    folder.write_manifest(items, [digests[item.file] for item in items])
