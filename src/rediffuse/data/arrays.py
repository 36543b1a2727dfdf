"""The on-disk store of examples: one .npy file, written a block at a time, read through a memory map."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import Any, Self

import numpy as np

from rediffuse.errors import UserError


class ArrayWriter:
    """Write uint8 examples of one shape one after the other; the file holds the bytes that `np.save` would write.

    Counts pixels by value on the way, so that mean and standard deviation are exact sums of integers.

    Args:
        path: the file, overwritten.
        shape: channels, height, width.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.count = 0
        self._histogram = np.zeros(256, dtype=np.int64)
        self._hash = hashlib.sha256()
        self._file = path.open("wb+")

    def __enter__(self) -> Self:
        self._write_header()
        return self

    def extend(self, examples: np.ndarray) -> None:
        """Add examples, uint8, N×C×H×W."""
        if examples.shape[1:] != self.shape or examples.dtype != np.uint8:
            raise ValueError(f"an example is {examples.dtype} of {examples.shape[1:]}, not uint8 of {self.shape}")
        content = examples.tobytes()
        self._file.write(content)
        self._hash.update(content)
        self._histogram += np.bincount(examples.ravel(), minlength=256)
        self.count += len(examples)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._write_header()

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of all pixels scaled to [-1, 1]."""
        value = np.arange(256) / 127.5 - 1
        share = self._histogram / self._histogram.sum()
        mean = float(share @ value)
        return mean, float(np.sqrt(share @ (value - mean) ** 2))

    def digest(self, labels: Sequence[int]) -> str:
        """SHA-256 over the pixels in order, then the labels (int64, little-endian), then the shape of the whole."""
        whole = self._hash.copy()
        whole.update(np.asarray(labels, dtype="<i8").tobytes())
        whole.update(repr((self.count, *self.shape)).encode())
        return whole.hexdigest()

    def _write_header(self) -> None:
        # NumPy pads the header so that the first axis may grow to 21 digits: any count fits into the same place.
        self._file.seek(0)
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def map_examples(path: Path) -> np.ndarray:
    """The examples in a file that `ArrayWriter` wrote, N×C×H×W, as a read-only memory map.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        # Not np.load: that opens archives too.
        examples = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage clean first") from None
    # The latter three are what NumPy's parser of the header makes of a spoilt one.
    except (OSError, ValueError, SyntaxError, TokenError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} can't be read as an array ({reason}); run dvc repro clean") from None
    if examples.dtype != np.uint8 or examples.ndim != 4:
        found = f"{examples.dtype} of {examples.ndim} dimensions"
        raise UserError(f"{path} holds {found}, not images: uint8 of 4 dimensions; run dvc repro clean")
    return examples


@dataclass(frozen=True, eq=False)
class StoredExamples:
    """Some of the examples in a file that `ArrayWriter` wrote, read when they are asked for.

    A process that gets one opens the file itself: what is pickled is the path, not the pixels.

    Args:
        path: the file.
        chosen: positions in it.
        more: examples that stand in no file, behind those; pickled with the path.
    """

    path: Path
    chosen: np.ndarray
    more: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.chosen) + (0 if self.more is None else len(self.more))

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """A copy of these rows of the chosen ones, uint8, N×C×H×W."""
        if self.more is None:
            read: np.ndarray = self._file[self.chosen[rows]]
            return read
        behind = rows >= len(self.chosen)
        both = np.empty((len(rows), *self.more.shape[1:]), np.uint8)
        both[~behind] = self._file[self.chosen[rows[~behind]]]
        both[behind] = self.more[rows[behind] - len(self.chosen)]
        return both

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "chosen": self.chosen, "more": self.more}

    @cached_property
    def _file(self) -> np.ndarray:
        # A plain view: indexing a memory map makes another memory map.
        return map_examples(self.path).view(np.ndarray)
