"""Data with known contents, and parameters with a few values changed."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rediffuse.params import Params, load_params

ROOT = Path(__file__).parents[2]


def pixels(seed: int, height: int = 12, width: int = 12, channels: int = 3) -> np.ndarray:
    """Random uint8 pixels: H×W for one channel, else H×W×channels."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def image_file(path: Path, seed: int, **size: int) -> Path:
    """A random PNG at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels(seed, **size)))
    return path


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + np.asarray(array.shape, dtype=">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def idx_pair(folder: Path, prefix: str, images: np.ndarray, labels: list[int], *, zipped: bool = False) -> None:
    """A pair of IDX files named as MNIST's."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{prefix}images-idx3-ubyte", images), (f"{prefix}labels-idx1-ubyte", np.array(labels))):
        content = idx_bytes(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)


def params_with(**changes: Any) -> Params:
    """params.yaml with `section__key=value`, the data's parameters at fixed values whatever the file says."""
    fixed = {
        "seed": 0,
        "prepare__source": "folder",
        "prepare__path": "raw",
        "prepare__shard_rows": 100,
        "clean__size": None,
        "clean__channels": None,
        "clean__max_rejected_share": 1.0,
        "runtime__workers": 1,
        "split__val_share": 0.2,
        "split__test_share": 0.2,
    }
    document = load_params(ROOT / "params.yaml").model_dump()
    for name, value in (fixed | changes).items():
        section, _, key = name.partition("__")
        if key:
            document[section][key] = value
        else:
            document[section] = value
    return Params.model_validate(document)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
