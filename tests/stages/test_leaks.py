"""Copies planted under other names, labels and parts: none is in train while its picture is in val or test."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageOps

from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.split import split
from tests.data.dirty import CLASSES, good
from tests.data.planted import params_with

SIDE = 64
COUNT = 60

COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "same": lambda image: image,
    "resized": lambda image: image.resize((40, 40), Image.Resampling.LANCZOS),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((1, 1, SIDE - 1, SIDE - 1)),
}


def plant(folder: Path, parts: tuple[str, ...]) -> None:
    """Pictures in classes and parts in turn, and of every fifth one a copy in the other class and the next part."""
    kinds = list(COPIES)
    for i in range(COUNT):
        image = Image.fromarray(good(i, SIDE))
        part, label = i % len(parts), i // len(parts) % 2
        file = folder / parts[part] / CLASSES[label] / f"{i:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)
        if i % 5 == 0:
            copied = COPIES[kinds[i // 5 % len(kinds)]](image)
            other = folder / parts[(part + 1) % len(parts)] / CLASSES[1 - label] / f"copy-of-{i:03}.jpg"
            other.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            copied.save(content, "JPEG", quality=90)
            other.write_bytes(content.getvalue())


@pytest.mark.parametrize("parts", [("",), ("train", "test"), ("train", "val", "test")])
@pytest.mark.parametrize("method", ["stratified", "hash"])
def test_no_picture_is_on_two_sides_of_a_split(tmp_path: Path, parts: tuple[str, ...], method: str) -> None:
    plant(tmp_path / "raw", parts)
    workspace, params = Workspace.at(tmp_path), params_with(clean__size=32, split__method=method)
    for stage in (prepare, clean, split):
        stage(params, workspace)
    table = pd.read_parquet(workspace.manifest).merge(pd.read_parquet(workspace.split), on="id")
    assert len(table) == COUNT + COUNT // 5
    picture = table["id"].str.extract(r"(\d{3})\.(?:png|jpg)$")[0]
    sides = table[table["split"] != "overlap"].groupby(picture)["split"].nunique()
    assert (sides == 1).all()
    # What the source gives as its test set is that, whole; of its val set only what repeats the test set is not used.
    given = table.groupby("given_split")["split"].unique().map(set)
    assert given.get("test", {"test"}) == {"test"}
    assert given.get("val", set()) <= {"val", "overlap"}
    assert ("overlap" in set(table["split"])) == (len(parts) > 1)
