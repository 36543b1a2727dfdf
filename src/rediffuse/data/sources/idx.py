"""Pairs of IDX files, the format of MNIST and its many descendants.

An IDX file is a magic number of four bytes (0, 0, type, number of dimensions; type 8 is uint8), each dimension as a
big-endian uint32, then the values. Images are N×H×W (magic 2051), labels N (magic 2049).
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from rediffuse.data.png import encode_png
from rediffuse.data.sources.labels import Classes
from rediffuse.data.sources.source import About, GivenSplit, Row
from rediffuse.errors import UserError

_NAME = re.compile(r"(?P<pair>.*?)(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
_DIMENSIONS = {"images": 3, "labels": 1}
_TEST_PAIRS = ("t10k-", "test-")
_LARGEST = 1 << 30  # bytes of one image
_CHUNK = 1 << 22  # bytes of images in memory at a time, about


@dataclass(frozen=True)
class _Pair:
    part: GivenSplit
    images: Path
    labels: np.ndarray  # uint8, N


class Idx:
    """A training pair and, where the folder holds one, a test pair of IDX files, gzipped or not.

    Files are named as MNIST's are: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and `t10k-` (or `test-`) for
    the test pair; `.idx3-ubyte` in place of `-idx3-ubyte`, more before `train-` or `test-`, and `.gz` at the end will
    do. The same data gives the same rows, gzipped or not.

    Args:
        classes: names of the numbers among the labels; None: the numbers that occur in the training pair.

    Raises:
        UserError: a file is missing, broken or of the wrong kind, a pair's lengths differ, or a label is unknown.
    """

    name = "idx"
    about = About()

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        self._pairs = _find_pairs(path)
        known = np.unique(self._pairs[0].labels)
        for pair in self._pairs[1:]:
            unknown = np.setdiff1d(pair.labels, known)
            if len(unknown):
                raise UserError(
                    f"{path}: the test pair holds the label {unknown[0]}, which no training image has; "
                    f"allowed are {', '.join(map(str, known))}"
                )
        named = Classes(classes or [str(label) for label in known])
        self._position = {int(label): named.position(int(label), str(path)) for label in known}
        self.classes = named.names

    def __iter__(self) -> Iterator[Row]:
        for pair in self._pairs:
            origin = pair.images.name.removesuffix(".gz")
            split = pair.part if len(self._pairs) > 1 else None
            for i, (pixels, label) in enumerate(zip(_images(pair.images), pair.labels.tolist(), strict=True)):
                yield Row(
                    id=f"{pair.part}-{i:06d}",
                    content=encode_png(pixels),
                    label=self._position[label],
                    split=split,
                    origin=f"{origin}#{i}",
                )


def _find_pairs(folder: Path) -> list[_Pair]:
    """The training pair, then the test pair if there is one."""
    if not folder.is_dir():
        raise UserError(f"prepare.path: the folder {folder} is missing; it should hold IDX files")
    files: dict[str, dict[str, Path]] = {}
    # A plain file sorts before its gzipped twin and wins.
    for file in sorted(folder.iterdir()):
        match = _NAME.fullmatch(file.name)
        if match:
            files.setdefault(match["pair"], {}).setdefault(match["kind"], file)
    parts: dict[GivenSplit, str] = {}
    for prefix in files:
        part: GivenSplit = "test" if prefix.endswith(_TEST_PAIRS) else "train"
        if part in parts:
            raise UserError(f"{folder} holds two {part} pairs, {parts[part]!r} and {prefix!r}; keep one")
        parts[part] = prefix
    if "train" not in parts:
        raise UserError(
            f"{folder} holds no training pair of IDX files; "
            "expected are train-images-idx3-ubyte and train-labels-idx1-ubyte, gzipped (.gz) or not"
        )
    return [_pair(folder, part, files[parts[part]]) for part in ("train", "test") if part in parts]


def _pair(folder: Path, part: GivenSplit, files: dict[str, Path]) -> _Pair:
    for kind, other in (("images", "labels"), ("labels", "images")):
        if kind not in files:
            raise UserError(f"{folder}: {files[other].name} has no file of {kind} beside it; each pair needs one")
    with _opened(files["images"]) as stream:
        count, *size = _shape(stream, files["images"], _DIMENSIONS["images"])
    if 0 in size:
        raise UserError(f"{files['images']} holds images of {size[0]}×{size[1]} pixels; at least 1×1 is needed")
    labels = np.concatenate([np.empty(0, np.uint8), *_values(files["labels"], _DIMENSIONS["labels"])])
    if count != len(labels):
        raise UserError(
            f"{folder}: {files['images'].name} holds {count} images, "
            f"but {files['labels'].name} {len(labels)} labels; each image needs one"
        )
    return _Pair(part=part, images=files["images"], labels=labels)


def _images(file: Path) -> Iterator[np.ndarray]:
    """The images of a file, each H×W."""
    for chunk in _values(file, _DIMENSIONS["images"]):
        yield from chunk


def _values(file: Path, dimensions: int) -> Iterator[np.ndarray]:
    """The array in an IDX file of uint8, a few of its entries at a time; nothing of a broken file is missed."""
    with _opened(file) as stream:
        shape = _shape(stream, file, dimensions)
        entry = math.prod(shape[1:])
        step = max(1, _CHUNK // max(1, entry))
        for start in range(0, shape[0], step):
            count = min(step, shape[0] - start)
            content = _read(stream, file, count * entry)
            if len(content) < count * entry:
                _refuse_length(file, shape, start * entry + len(content))
            yield np.frombuffer(content, np.uint8).reshape(count, *shape[1:])
        rest = 0
        while more := len(_read(stream, file, _CHUNK)):
            rest += more
        if rest:
            _refuse_length(file, shape, math.prod(shape) + rest)


def _shape(stream: BinaryIO, file: Path, dimensions: int) -> tuple[int, ...]:
    """The dimensions in the header of an IDX file."""
    header = _read(stream, file, 4 + 4 * dimensions)
    magic = header[:4]
    if magic != bytes((0, 0, 8, dimensions)) or len(header) < 4 + 4 * dimensions:
        raise UserError(
            f"{file} begins with the magic number {int.from_bytes(magic, 'big')}; "
            f"an IDX file of uint8 with {dimensions} dimension{'s' * (dimensions > 1)} begins with {2048 + dimensions}"
        )
    shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4", offset=4))
    # Dimensions in the wrong order of bytes are numbers that no memory holds.
    values = file.stat().st_size - len(header)
    if file.suffix != ".gz" and values != math.prod(shape):
        _refuse_length(file, shape, values)
    if math.prod(shape[1:]) > _LARGEST:
        raise UserError(f"{file}: its header says images of {'×'.join(map(str, shape[1:]))} pixels; 1 GiB is allowed")
    return shape


def _opened(file: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(file)) if file.suffix == ".gz" else file.open("rb")
    except OSError as error:
        raise UserError(f"{file} can't be read: {error}") from None


def _read(stream: BinaryIO, file: Path, count: int) -> bytes:
    try:
        return stream.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} can't be read: {error}") from None


def _refuse_length(file: Path, shape: tuple[int, ...], values: int) -> None:
    raise UserError(
        f"{file} holds {values} values, but its header says {'×'.join(map(str, shape))} = {math.prod(shape)}"
    )
