"""Pairs of IDX files, the format of MNIST and its many descendants.

An IDX file is a magic number of four bytes (0, 0, type, number of dimensions; type 8 is uint8), each dimension as a
big-endian uint32, then the values. Images are N×H×W (magic 2051), labels N (magic 2049).
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rediffuse.data.png import encode_png
from rediffuse.data.sources.source import About, GivenSplit, Row
from rediffuse.errors import UserError

_NAME = re.compile(r"(?P<pair>.*?)(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
_DIMENSIONS = {"images": 3, "labels": 1}
_TEST_PAIRS = ("t10k-", "test-")


@dataclass(frozen=True)
class _Pair:
    part: GivenSplit
    images_file: str
    images: np.ndarray  # uint8, N×H×W
    labels: np.ndarray  # uint8, N


class Idx:
    """A training pair and, where the folder holds one, a test pair of IDX files, gzipped or not.

    Files are named as MNIST's are: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and `t10k-` (or `test-`) for
    the test pair; `.idx3-ubyte` in place of `-idx3-ubyte`, more before `train-` or `test-`, and `.gz` at the end will
    do. The classes are the labels that occur in the training pair, named by their number. The same data gives the
    same rows, gzipped or not.

    Raises:
        UserError: a file is missing, broken or of the wrong kind, a pair's lengths differ, or a test label is unknown.
    """

    name = "idx"
    about = About()

    def __init__(self, path: Path) -> None:
        pairs = _read_pairs(path)
        train = pairs[0]
        known = np.unique(train.labels)
        for pair in pairs[1:]:
            unknown = np.setdiff1d(pair.labels, known)
            if len(unknown):
                raise UserError(
                    f"{path}: the test pair holds the label {unknown[0]}, which no training image has; "
                    f"allowed are {', '.join(map(str, known))}"
                )
        self.classes: tuple[str, ...] = tuple(str(label) for label in known)
        self._position = {int(label): position for position, label in enumerate(known)}
        self._pairs = pairs

    def __iter__(self) -> Iterator[Row]:
        for pair in self._pairs:
            for i, (pixels, label) in enumerate(zip(pair.images, pair.labels.tolist(), strict=True)):
                yield Row(
                    id=f"{pair.part}-{i:06d}",
                    content=encode_png(pixels),
                    label=self._position[label],
                    split=pair.part if len(self._pairs) > 1 else None,
                    origin=f"{pair.images_file}#{i}",
                )


def _read_pairs(folder: Path) -> list[_Pair]:
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
    return [_read_pair(folder, part, files[parts[part]]) for part in ("train", "test") if part in parts]


def _read_pair(folder: Path, part: GivenSplit, files: dict[str, Path]) -> _Pair:
    for kind, other in (("images", "labels"), ("labels", "images")):
        if kind not in files:
            raise UserError(f"{folder}: {files[other].name} has no file of {kind} beside it; each pair needs one")
    images, labels = (_read_idx(files[kind], _DIMENSIONS[kind]) for kind in ("images", "labels"))
    if len(images) != len(labels):
        raise UserError(
            f"{folder}: {files['images'].name} holds {len(images)} images, "
            f"but {files['labels'].name} {len(labels)} labels; each image needs one"
        )
    return _Pair(part=part, images_file=files["images"].name.removesuffix(".gz"), images=images, labels=labels)


def _read_idx(file: Path, dimensions: int) -> np.ndarray:
    """The array in an IDX file of uint8, with as many dimensions as asked for."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} can't be read: {error}") from None
    header = 4 + 4 * dimensions
    magic = content[:4]
    if magic != bytes((0, 0, 8, dimensions)) or len(content) < header:
        raise UserError(
            f"{file} begins with the magic number {int.from_bytes(magic, 'big')}; "
            f"an IDX file of uint8 with {dimensions} dimension{'s' * (dimensions > 1)} begins with {2048 + dimensions}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"{file} holds {len(content) - header} values, but its header says "
            f"{'×'.join(map(str, shape))} = {math.prod(shape)}"
        )
    if 0 in shape[1:]:
        raise UserError(f"{file} holds images of {shape[1]}×{shape[2]} pixels; at least 1×1 is needed")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
