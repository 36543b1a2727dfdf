"""What every source of data gives: classes, and one row an image, still encoded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

GivenSplit = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One image as its source gives it.

    Args:
        id: a name no other row of the source has, the same on every machine.
        content: the bytes of an image file; nothing is decoded yet, so they may be broken.
        label: position in the source's classes; None: unlabelled.
        split: the part of a source that brings its own parts; None: it brings none.
        origin: where a person finds the image again: file, and position in it, relative to the source's path.
        caption: a description in words; None: none.
        fault: why the source gives no bytes for this row ("a link out of the folder"); "": it does.
    """

    id: str
    content: bytes
    label: int | None
    origin: str
    caption: str | None = None
    split: GivenSplit | None = None
    fault: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """Where data comes from, for its card.

    Args:
        origin: a name, address or reference; "": unknown.
        licence: likewise.
        retrieved: the day it was fetched, YYYY-MM-DD; "": unknown.
    """

    origin: str = ""
    licence: str = ""
    retrieved: str = ""

    def replaced_by(self, *, origin: str | None, licence: str | None, retrieved: str | None) -> "About":
        """The same, where another says nothing (None), and else what that says."""
        return About(
            origin=self.origin if origin is None else origin,
            licence=self.licence if licence is None else licence,
            retrieved=self.retrieved if retrieved is None else retrieved,
        )


class Source(Protocol):
    """Rows in an order that depends on the data alone. What can't be read raises UserError, never fewer rows."""

    @property
    def name(self) -> str:
        """What `prepare.source` calls it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, position = label; empty: unlabelled."""

    @property
    def about(self) -> About:
        """What the source itself knows of its data."""

    def __iter__(self) -> Iterator[Row]: ...
