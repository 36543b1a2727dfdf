"""Small pictures of images, also of those that cleaning refused, where they can be decoded at all."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from rediffuse.data.decoding import DecodePolicy, UndecodableError, decode
from rediffuse.data.shards import read_manifest

SIDE = 64  # pixels of a thumbnail's longer side, at most

_PIXELS = 50_000_000  # more are not decoded for a thumbnail
_ROWS = 16  # of encoded images in memory


@dataclass(frozen=True)
class Original:
    """An image as the source has it.

    Args:
        thumbnail: uint8, H×W×3, `SIDE` at most; None where it can't be decoded.
        width, height: upright, in pixels; 0 likewise.
    """

    thumbnail: np.ndarray | None
    width: int = 0
    height: int = 0


def read_originals(folder: Path, wanted: Collection[str], background: tuple[int, int, int]) -> dict[str, Original]:
    """The images with these ids in a folder of shards; a few of them in memory at a time.

    Args:
        wanted: ids; the ids of all rows are read, of the images only the row groups that hold one of these.
        background: RGB under transparent images.
    """
    return {name: look(content, background) for name, content in _contents(folder, wanted)}


def look(content: bytes, background: tuple[int, int, int]) -> Original:
    """The thumbnail and the size of an encoded image, converted in every way that cleaning can be told to."""
    policy = DecodePolicy(floating_point="convert", max_pixels=_PIXELS, background=background)
    try:
        picture = decode(content, policy)
    except UndecodableError:
        return Original(None)
    return Original(thumbnail(Image.fromarray(picture.pixels).convert("RGB")), picture.width, picture.height)


def thumbnail(image: Image.Image) -> np.ndarray:
    """An RGB image with its longer side at `SIDE` pixels: smaller ones are enlarged by a whole factor."""
    longer = max(image.size)
    if longer > SIDE:
        scale = SIDE / longer
        size = tuple(max(1, round(side * scale)) for side in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    elif (factor := SIDE // longer) > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    return np.asarray(image)


def thumbnail_of_example(example: np.ndarray) -> np.ndarray:
    """The same of a cleaned example, uint8, C×H×W with C 1 or 3."""
    colour = np.broadcast_to(example, (3, *example.shape[1:]))
    return thumbnail(Image.fromarray(np.ascontiguousarray(colour.transpose(1, 2, 0))))


def _contents(folder: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    left = set(wanted)
    names = pyarrow.array(sorted(left), pyarrow.string())
    for shard in read_manifest(folder).shards:
        if not left:
            return
        with pq.ParquetFile(folder / shard.file) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["id"])["id"]
                if not pc.any(pc.is_in(ids, value_set=names)).as_py():
                    continue
                for batch in file.iter_batches(_ROWS, row_groups=[group], columns=["id", "image.bytes"]):
                    for at in np.flatnonzero(pc.is_in(batch["id"], value_set=names)):
                        name = batch["id"][at].as_py()
                        left.discard(name)
                        yield name, batch["image"][at]["bytes"].as_py() or b""
