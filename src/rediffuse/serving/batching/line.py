"""Who waits, and who is next. Nothing here knows of threads."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from rediffuse.serving.answers import Answers
from rediffuse.serving.batching.ticket import Ticket
from rediffuse.serving.wanted import Wanted


@dataclass(frozen=True)
class Batch:
    """Images that are drawn together.

    Args:
        answers: the model that draws them.
        parts: the tickets they are from, in order of arrival, and the places that the images have in each.
    """

    answers: Answers
    parts: tuple[tuple[Ticket, tuple[int, ...]], ...]

    @property
    def wanted(self) -> list[Wanted]:
        """The images, ticket by ticket."""
        return [ticket.wanted[place] for ticket, places in self.parts for place in places]

    @property
    def rows(self) -> Iterator[tuple[Ticket, tuple[int, ...], slice]]:
        """Each ticket, the places of its images, and the rows of the batch that hold them."""
        start = 0
        for ticket, places in self.parts:
            yield ticket, places, slice(start, start + len(places))
            start += len(places)

    @property
    def is_awaited(self) -> bool:
        """Whether anybody still wants an image of it."""
        return any(not ticket.done() for ticket, _ in self.parts)


class Line:
    """The tickets with images that are not begun, in order of arrival."""

    def __init__(self) -> None:
        # A dictionary keeps the order, and drops from its middle at once.
        self._urgent: dict[Ticket, None] = {}
        self._background: dict[Ticket, None] = {}

    def count(self, *, background: bool) -> int:
        """Images that wait."""
        return sum(len(ticket.waiting) for ticket in (self._background if background else self._urgent))

    def join(self, ticket: Ticket) -> None:
        """Wait as the last one."""
        (self._background if ticket.background else self._urgent)[ticket] = None

    def drop(self, ticket: Ticket) -> None:
        """Wait no more."""
        self._urgent.pop(ticket, None)
        self._background.pop(ticket, None)

    def tickets(self) -> list[Ticket]:
        """All that wait."""
        return [*self._urgent, *self._background]

    def late(self, now: float) -> list[Ticket]:
        """Those of which nothing was begun in time; they wait no more."""
        late = [ticket for ticket in self.tickets() if not ticket.begun and ticket.late < now]
        for ticket in late:
            self.drop(ticket)
        return late

    def batch(self) -> Batch | None:
        """The next images to draw, which wait no more; None where nobody waits.

        The image that has waited longest decides model and kind; all others that wait and share both fill the batch, in
        order of arrival. Those in the background decide only where nobody else waits; before that they take places that
        would be drawn for nobody.
        """
        first = next(chain(self._urgent, self._background), None)
        if first is None:
            return None
        answers, kind = first.answers, first.kinds[first.waiting[0]]
        room = answers.batch_size
        parts: list[tuple[Ticket, tuple[int, ...]]] = []
        for ticket in self.tickets():
            if ticket.answers is not answers:
                continue
            places = [place for place in ticket.waiting if ticket.kinds[place] == kind][:room]
            if not places:
                continue
            parts.append((ticket, tuple(places)))
            room -= len(places)
            ticket.begin(places)
            if not ticket.waiting:
                self.drop(ticket)
            if not room:
                break
        return Batch(answers, tuple(parts))
