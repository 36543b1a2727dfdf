"""Where images come from. A new source is one file that follows `Source`, and one line in SOURCES."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rediffuse.data.sources.digits import Digits
from rediffuse.data.sources.folder import Folder, UnlabelledFolder
from rediffuse.data.sources.folder_table import TableFolder
from rediffuse.data.sources.idx import Idx
from rediffuse.data.sources.parquet import Parquet
from rediffuse.data.sources.source import About, GivenSplit, Row, Source
from rediffuse.data.sources.torchvision_set import TorchvisionSet
from rediffuse.data.sources.webdataset import WebDataset
from rediffuse.params import PrepareParams

__all__ = ["SOURCES", "About", "GivenSplit", "Row", "Source"]


def _folder(path: Path, section: PrepareParams) -> Source:
    match section.folder.labels:
        case "folders":
            return Folder(path, section.classes)
        case "table":
            return TableFolder(path, section)
        case "none":
            return UnlabelledFolder(path)


SOURCES: Mapping[str, Callable[[Path, PrepareParams], Source]] = {
    "digits": lambda path, section: Digits(path, section.classes),
    "idx": lambda path, section: Idx(path, section.classes),
    "folder": _folder,
    "parquet": Parquet,
    "webdataset": WebDataset,
    "torchvision": lambda path, section: TorchvisionSet(path, section.torchvision, section.classes),
}
"""prepare.source -> the source at prepare.path, given the section prepare."""
