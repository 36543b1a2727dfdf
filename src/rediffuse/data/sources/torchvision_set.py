"""Data sets of torchvision.datasets by name, fetched only where prepare.torchvision.download says so."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rediffuse.data.png import encode_png
from rediffuse.data.sources.labels import Classes
from rediffuse.data.sources.source import About, GivenSplit, Row
from rediffuse.errors import UserError
from rediffuse.params import TorchvisionParams

_Arguments = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Set:
    """How a data set's parts are asked for.

    Args:
        parts: the class's arguments for each part; None: the set has no parts.
        classes: the names where the class has none: a number of them, or the attribute that holds them; 0: unlabelled.
    """

    parts: Mapping[GivenSplit | None, _Arguments] = field(default_factory=lambda: {None: {}})
    classes: int | str = "classes"


_FLAG: Mapping[GivenSplit | None, _Arguments] = {"train": {"train": True}, "test": {"train": False}}


def _splits(*names: str, **others: Any) -> Mapping[GivenSplit | None, _Arguments]:
    """The argument `split`, by torchvision's names of the parts."""
    part_of: dict[str, GivenSplit] = {
        "train": "train",
        "trainval": "train",
        "val": "val",
        "valid": "val",
        "test": "test",
    }
    return {part_of[name]: {"split": name, **others} for name in names}


_SETS: Mapping[str, _Set] = {
    "CIFAR10": _Set(parts=_FLAG),
    "CIFAR100": _Set(parts=_FLAG),
    "Caltech101": _Set(classes="categories"),
    "CelebA": _Set(parts=_splits("train", "valid", "test", target_type=[]), classes=0),
    "Country211": _Set(parts=_splits("train", "valid", "test")),
    "DTD": _Set(parts=_splits("train", "val", "test")),
    "EMNIST": _Set(parts={part: {**flag, "split": "balanced"} for part, flag in _FLAG.items()}),
    "EuroSAT": _Set(),
    "FGVCAircraft": _Set(parts=_splits("train", "val", "test")),
    "FashionMNIST": _Set(parts=_FLAG),
    "Flowers102": _Set(parts=_splits("train", "val", "test")),
    "Food101": _Set(parts=_splits("train", "test")),
    "GTSRB": _Set(parts=_splits("train", "test"), classes=43),
    "Imagenette": _Set(parts=_splits("train", "val", size="160px")),
    "KMNIST": _Set(parts=_FLAG),
    "MNIST": _Set(parts=_FLAG),
    "OxfordIIITPet": _Set(parts=_splits("trainval", "test")),
    "STL10": _Set(parts=_splits("train", "test")),
    "SVHN": _Set(parts=_splits("train", "test"), classes=10),
    "USPS": _Set(parts=_FLAG, classes=10),
}


class TorchvisionSet:
    """A data set of torchvision, all parts of it; a row's id is `PART-POSITION`.

    Where torchvision reads image files, a row holds the file as it is, where torchvision allows that; else it is a PNG
    of the image that torchvision gives; an image that is damaged is a row with a fault.

    Args:
        path: the folder that torchvision calls root.
        classes: names and order of the classes; None: torchvision's.

    Raises:
        UserError: the name is unknown, or the data isn't there and can't or may not be fetched.
    """

    name = "torchvision"

    def __init__(self, path: Path, section: TorchvisionParams, classes: Sequence[str] | None = None) -> None:
        check_name(section.name)
        self.about = About(origin=f"torchvision.datasets.{section.name}")
        self._name = section.name
        kind = _SETS[section.name]
        self._parts = {part: _opened(path, section, arguments) for part, arguments in kind.parts.items()}
        self._names = _class_names(next(iter(self._parts.values())), kind.classes)
        self._classes = Classes(classes or self._names)
        self.classes = self._classes.names

    def __iter__(self) -> Iterator[Row]:
        for part, dataset in self._parts.items():
            for i in range(len(dataset)):
                where = f"{self._name}{f' ({part})' if part else ''}#{i}"
                content, label, fault = b"", None, ""
                try:
                    image, target = dataset[i]
                    label = int(target) if self._names else None
                    # Some sets give images of which only the head was read yet.
                    content = image if isinstance(image, bytes) else encode_png(np.asarray(_plain(image)))
                except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                    if isinstance(error, OSError) and error.errno is not None:
                        raise UserError(f"prepare.path: {where} can't be read: {error}") from None
                    fault = "a damaged image"
                yield Row(
                    id=f"{part or 'all'}-{i:06d}",
                    content=content,
                    label=None if label is None else self._classes.position(self._names[label], where),
                    split=part,
                    origin=where,
                    fault=fault,
                )


def check_name(name: str) -> None:
    """See that a data set is known; torchvision itself is not needed.

    Raises:
        UserError: it isn't.
    """
    if name not in _SETS:
        raise UserError(f"params.yaml: prepare.torchvision.name is {name!r}; allowed are {', '.join(_SETS)}")


def _opened(path: Path, section: TorchvisionParams, arguments: _Arguments) -> Any:
    """One part of a data set."""
    # Here and not above: torchvision takes torch with it, and only this source needs either.
    from torchvision import datasets

    kind = getattr(datasets, section.name)
    if "loader" in inspect.signature(kind).parameters:
        arguments = {**arguments, "loader": _file_bytes}
    try:
        return kind(str(path), download=section.download, **arguments)
    except (RuntimeError, OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        advice = "" if section.download else "; to fetch it there, add -S prepare.torchvision.download=true"
        raise UserError(f"prepare.path: {path} doesn't hold torchvision's {section.name} ({reason}){advice}") from None


def _file_bytes(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def _class_names(dataset: Any, classes: int | str) -> tuple[str, ...]:
    if isinstance(classes, int):
        return tuple(str(i) for i in range(classes))
    # Imagenette's classes have several names each.
    return tuple(name if isinstance(name, str) else ", ".join(name) for name in getattr(dataset, classes))


def _plain(image: Any) -> Any:
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
