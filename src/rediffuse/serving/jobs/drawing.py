"""Draw what is missing of a job; however often it is stopped on the way, the folder ends with the same bytes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rediffuse.serving.answers import Answers, batches
from rediffuse.serving.jobs.folder import JobFolder
from rediffuse.serving.jobs.items import Item
from rediffuse.serving.wanted import Wanted

Ask = Callable[[Sequence[Wanted]], Callable[[], Sequence[np.ndarray]]]
"""Asks for images of one kind, at most a batch; what it returns waits for them: C×H×W, uint8, in their order."""


@dataclass(frozen=True)
class Tally:
    """How many images of a job were there already, and how many were drawn."""

    there: int
    drawn: int


def complete(
    folder: JobFolder,
    items: Sequence[Item],
    answers: Answers,
    ask: Ask,
    seen: Callable[[int], object] = lambda _: None,
    go_on: Callable[[], object] = lambda: None,
) -> Tally:
    """Draw the images that are not there yet, and write the manifest; once this returns, a power cut loses none.

    What shares a kind is drawn together; the manifest keeps the order of the items. On the way it lists the images
    before the first missing one.

    Args:
        answers: the model that `ask` asks.
        seen: told how many images more are there.
        go_on: called before each file that is looked at or made safe; what it raises stops the work.
    """
    digests: dict[str, str] = {}
    for item in items:
        go_on()
        if digest := folder.digest(item):
            digests[item.file] = digest
    there = len(digests)
    seen(there)
    missing = [item for item in items if item.file not in digests]
    listed = until = 0
    for chunk, images in _drawn(answers, missing, ask):
        for item, image in zip(chunk, images, strict=True):
            digests[item.file] = folder.keep(item, image)
        seen(len(chunk))
        while until < len(items) and items[until].file in digests:
            until += 1
        # Written anew when it is half as long again: all in all so no more than three times the whole is written.
        if until > 1.5 * listed:
            _settle(folder, items[listed:until], go_on)
            _list(folder, items[:until], digests)
            listed = until
    _settle(folder, items[listed:], go_on)
    _list(folder, items, digests)
    return Tally(there, len(missing))


def _drawn(
    answers: Answers, missing: Sequence[Item], ask: Ask
) -> Iterator[tuple[Sequence[Item], Sequence[np.ndarray]]]:
    """Items batch by batch with their images; the next batch is asked for before one is given, so that whoever draws
    does not wait for the disk.
    """
    chunks = [[missing[place] for place in batch] for batch in batches(answers, [item.wanted for item in missing])]
    asked = (ask([item.wanted for item in chunk]) for chunk in chunks)
    wait = next(asked, None)
    for chunk in chunks:
        assert wait is not None
        images = wait()
        wait = next(asked, None)
        yield chunk, images


def _settle(folder: JobFolder, items: Sequence[Item], go_on: Callable[[], object]) -> None:
    for item in items:
        go_on()
        folder.settle(item)


def _list(folder: JobFolder, items: Sequence[Item], digests: dict[str, str]) -> None:
    folder.write_manifest(items, [digests[item.file] for item in items])
