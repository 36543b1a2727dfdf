"""Data with known contents, and parameters with a few values changed."""

import gzip
import io
import itertools
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rediffuse.data.sources import SOURCES, Source
from rediffuse.errors import UserError
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


def table_folder(
    folder: Path, images: np.ndarray, labels: list[str], parts: list[str], *, table: str = "metadata.csv"
) -> None:
    """PNG files train/000000.png, ... test/000000.png, and a CSV of their labels and parts."""
    lines = ["file_name,label,split"]
    for name, array, label, part in zip(_numbered(parts), images, labels, parts, strict=True):
        file = folder / part / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(array))
        lines.append(f"{part}/{name}.png,{label},{part}")
    (folder / table).write_text("\n".join(lines) + "\n")


def parquet_files(folder: Path, images: np.ndarray, labels: list[str], parts: list[str], *, rows: int = 100) -> None:
    """Parquet as on Hugging Face: train-00000-of-00003.parquet, ... with images as structs and ClassLabels."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(set(labels), key=int)
    feature = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}}}
    for part in dict.fromkeys(parts):
        chosen = [i for i, other in enumerate(parts) if other == part]
        chunks = [chosen[start : start + rows] for start in range(0, len(chosen), rows)]
        for number, chunk in enumerate(chunks):
            image = [{"bytes": encoded(images[i]), "path": None} for i in chunk]
            kinds = pa.schema(
                [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
                metadata={"huggingface": json.dumps(feature)},
            )
            table = pa.table({"image": image, "label": [names.index(labels[i]) for i in chunk]}, schema=kinds)
            pq.write_table(table, folder / f"{part}-{number:05d}-of-{len(chunks):05d}.parquet")


def tar_file(path: Path, members: dict[str, bytes]) -> Path:
    """A tar of files with these contents, gzipped where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def tar_files(folder: Path, images: np.ndarray, labels: list[str], parts: list[str]) -> None:
    """WebDataset tars mine-train-000000.tar and mine-test-000000.tar.gz, with a .cls beside each .png."""
    members: dict[str, dict[str, bytes]] = {}
    for name, array, label, part in zip(_numbered(parts), images, labels, parts, strict=True):
        tar = f"mine-{part}-000000.tar{'.gz' if part == 'test' else ''}"
        members.setdefault(tar, {}).update({f"{name}.png": encoded(array), f"{name}.cls": label.encode()})
    for tar, files in members.items():
        tar_file(folder / tar, files)


def _numbered(parts: list[str]) -> list[str]:
    """000000, 000001, ... from the start in each part."""
    counts: dict[str, Iterator[int]] = defaultdict(itertools.count)
    return [f"{next(counts[part]):06d}" for part in parts]


def params_with(**changes: Any) -> Params:
    """params.yaml with `section__key=value`, the data's parameters at fixed values whatever the file says.

    Of a key inside a key's section likewise: `prepare__folder__labels="none"`.
    """
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
        *sections, key = name.split("__")
        place = document
        for section in sections:
            place = place[section]
        place[key] = value
    return Params.model_validate(document)


def opened(kind: str, path: Path, **changes: Any) -> Source:
    """The source of a kind at `path`; `folder__labels="none"` is `prepare.folder.labels`."""
    section = params_with(**{f"prepare__{name}": value for name, value in changes.items()}).prepare
    return SOURCES[kind](path, section)


def refusal(kind: str, path: Path, **changes: Any) -> str:
    """The message with which a source refuses what lies at `path`, one line."""
    with pytest.raises(UserError) as caught:
        list(opened(kind, path, **changes))
    message = str(caught.value)
    assert "\n" not in message
    return message


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
