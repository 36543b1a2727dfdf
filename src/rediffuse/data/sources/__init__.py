"""Where images come from. A new source is one file that follows `Source`, and one line in SOURCES."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rediffuse.data.sources.digits import Digits
from rediffuse.data.sources.folder import Folder
from rediffuse.data.sources.idx import Idx
from rediffuse.data.sources.source import GivenSplit, Row, Source

__all__ = ["SOURCES", "GivenSplit", "Row", "Source"]

SOURCES: Mapping[str, Callable[[Path], Source]] = {
    "digits": Digits,
    "idx": Idx,
    "folder": Folder,
}
"""prepare.source -> the source at prepare.path."""
