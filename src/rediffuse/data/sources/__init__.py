"""Where images come from. A new source is one file that follows `Source`, and one line in SOURCES."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rediffuse.data.sources.digits import Digits
from rediffuse.data.sources.folder import Folder
from rediffuse.data.sources.idx import Idx
from rediffuse.data.sources.source import About, GivenSplit, Row, Source
from rediffuse.params import PrepareParams

__all__ = ["SOURCES", "About", "GivenSplit", "Row", "Source"]

SOURCES: Mapping[str, Callable[[Path, PrepareParams], Source]] = {
    "digits": lambda path, _: Digits(path),
    "idx": lambda path, _: Idx(path),
    "folder": lambda path, _: Folder(path),
}
"""prepare.source -> the source at prepare.path, given the section prepare."""
