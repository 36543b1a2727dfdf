"""Class names, and the position of a label among them."""

import re
from collections.abc import Iterable, Sequence

from rediffuse.errors import UserError

_WHOLE = re.compile(r"-?[0-9]+")


def sorted_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels, sorted: as numbers where all are whole numbers, else bytewise."""
    names = set(labels)
    if all(_WHOLE.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


class Classes:
    """The classes of a source: those that prepare.classes or the data itself declare, else those that are found.

    A label is a name, or a whole number. Where the names are no numbers, a number is a position among them, so that
    `prepare.classes` gives names to data whose labels are numbers.

    Args:
        names: in their order.
        declared_in: who says so, for messages.
    """

    def __init__(self, names: Sequence[str], declared_in: str = "prepare.classes") -> None:
        self.names = tuple(names)
        self._declared_in = declared_in
        self._positions = {name: position for position, name in enumerate(self.names)}
        if not all(_WHOLE.fullmatch(name) for name in self.names):
            self._positions |= {str(i): i for i in range(len(self.names)) if str(i) not in self._positions}

    def position(self, label: str | int, where: str) -> int:
        """The position of a label.

        Args:
            label: its name or number.
            where: file and line, for the message.

        Raises:
            UserError: it is none of the classes.
        """
        position = self._positions.get(str(label))
        if position is None:
            shown = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise UserError(
                f"{where}: the label {str(label)!r} is none of the classes; {self._declared_in} allows {shown}"
            )
        return position
