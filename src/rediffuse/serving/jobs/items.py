"""The images of a job, each with the name of its file and the record that it will hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rediffuse.serving.answers import Answers
from rediffuse.serving.record import Record, record_of
from rediffuse.serving.request import ImageRequest, wanted
from rediffuse.serving.wanted import NotAllowedError, Wanted

MOST_OF_A_ROW = 1000
"""Images: their number within the row has three digits."""
MOST_IMAGES = 1_000_000


class RowError(ValueError):
    """A row that the model can't draw; the message is one line.

    Args:
        row: its number, from 0.
        field: of the request.
    """

    def __init__(self, row: int, field: str, message: str) -> None:
        super().__init__(message)
        self.row = row
        self.field = field


@dataclass(frozen=True)
class Item:
    """One image of a job.

    Args:
        file: its name.
        row: of the job, from 0.
        wanted: what is drawn.
        record: what the file says of it.
    """

    file: str
    row: int
    wanted: Wanted
    record: Record


def file_name(row: int, number: int) -> str:
    """The file of image `number` of a row, both from 0."""
    return f"{row:06}-{number:03}.png"


def items_of(
    requests: Sequence[ImageRequest],
    answers: Answers,
    most: int = MOST_IMAGES,
    meant: Callable[[ImageRequest], Sequence[Wanted]] | None = None,
) -> list[Item]:
    """All images of these rows, in their order.

    Args:
        requests: a row each.
        answers: the model that will draw them.
        most: images in all.
        meant: the images of a row, for who allows less than `request.wanted`.

    Raises:
        RowError: the first row that the model can't draw, or that makes it more images than `most`.
    """
    items: list[Item] = []
    for row, request in enumerate(requests):
        try:
            images = meant(request) if meant else wanted(request, answers, MOST_OF_A_ROW)
        except NotAllowedError as error:
            raise RowError(row, error.field, str(error)) from None
        if len(images) > MOST_OF_A_ROW:
            raise RowError(row, "count", f"{len(images)} images are more than {MOST_OF_A_ROW}, the most of one row")
        if len(items) + len(images) > most:
            raise RowError(row, "count", f"with this row there are more than {most} images, which is the most in a job")
        items += [Item(file_name(row, n), row, each, record_of(answers, each)) for n, each in enumerate(images)]
    return items
