import tracemalloc
from fractions import Fraction
from hashlib import sha256
from math import floor, log2

import numpy as np
import pytest
from PIL import Image

from rediffuse.data import looking
from rediffuse.data.decoding import DecodePolicy, UndecodableError, decode
from rediffuse.data.formatting import Resize, view
from rediffuse.data.looking import LOOKS, cell_means, look
from rediffuse.data.sources import Row
from tests.data import dirty
from tests.data.planted import encoded, pixels

POLICY = DecodePolicy()


def row(content: bytes, fault: str = "") -> Row:
    return Row(id="", content=content, label=None, origin="", fault=fault)


def rows() -> list[Row]:
    """Images of several shapes, some grey, some that can't be decoded."""
    planted = [*dirty.ordinary(8), *dirty.undecodable(), *dirty.unusual(), *dirty.findable()]
    return [row(b"", "a link out of the folder"), *(row(one.content) for one in planted)]


def means_by_fractions(array: np.ndarray, side: int) -> list[list[int]]:
    height, width = array.shape

    def overlap(pixel: int, cell: int, length: int) -> Fraction:
        low = max(Fraction(pixel), Fraction(cell * length, side))
        return max(Fraction(0), min(Fraction(pixel + 1), Fraction((cell + 1) * length, side)) - low)

    def mean(i: int, j: int) -> Fraction:
        return sum(
            (
                overlap(y, i, height) * overlap(x, j, width) * int(array[y, x])
                for y in range(height)
                for x in range(width)
            ),
            Fraction(0),
        ) / Fraction(height * width, side * side)

    return [[floor(mean(i, j) + Fraction(1, 2)) for j in range(side)] for i in range(side)]


@pytest.mark.parametrize(("shape", "side"), [((5, 7), 4), ((3, 11), 4), ((4, 4), 4), ((1, 1), 4), ((2, 9), 8)])
def test_cell_means_are_exact(shape: tuple[int, int], side: int) -> None:
    stack = np.stack([pixels(seed, *shape, channels=1) for seed in range(3)])
    assert cell_means(stack, side).tolist() == [means_by_fractions(array, side) for array in stack]


def test_cell_means_are_exact_on_images_too_wide_for_float32() -> None:
    wide = np.full((1, 1, 1 << 22), 255, np.uint8)
    wide[..., ::2] = 254
    assert (cell_means(wide, 4) == 255).all()  # the mean is 254.5, and a millionth less with one level less
    wide[..., 1 :: 1 << 20] = 254
    assert (cell_means(wide, 4) == 254).all()


def test_cell_means_are_the_same_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = np.stack([pixels(seed, 37, 23, channels=1) for seed in range(3)])
    whole = cell_means(stack, 32)
    monkeypatch.setattr(looking, "_STRIP_BYTES", 100)
    assert np.array_equal(cell_means(stack, 32), whole)


def test_figures_are_of_the_image_itself() -> None:
    colour, grey = pixels(0, 20, 30), pixels(1, 30, 20, channels=1) // 3
    table, views = look([row(encoded(colour)), row(encoded(grey))], POLICY, "center_crop")
    assert table.schema == LOOKS
    assert views.shape == (2, 1072)
    for i, (array, part) in enumerate(((colour, colour[:, 5:25]), (grey, grey[5:25]))):
        luma = np.asarray(Image.fromarray(part).convert("L"))
        found = table.slice(i, 1).to_pylist()[0]
        share = [count / luma.size for count in np.bincount(luma.ravel()).tolist() if count]
        assert found == {
            "reason": "",
            "detail": "",
            "converted": "",
            "mode": "RGB" if array is colour else "L",
            "width": array.shape[1],
            "height": array.shape[0],
            "grey": array is grey,
            "sha256": sha256(f"{array.shape}".encode() + array.tobytes()).digest(),
            "range": int(max(np.ptp(part.reshape(400, -1), axis=0))),
            "brightness": float(np.float32(round(float(luma.mean()), 4))),
            "contrast": float(np.float32(round(float(luma.std()), 4))),
            "entropy": float(np.float32(round(-sum(p * log2(p) for p in share), 4))),
        }
        assert np.array_equal(views[i, :1024], cell_means(luma[None], 32).ravel())
        cells = [cell_means(part[None, ..., c] if part.ndim == 3 else part[None], 4)[0] for c in range(3)]
        assert np.array_equal(views[i, 1024:].reshape(4, 4, 3), np.stack(cells, axis=-1))


def test_a_flat_image_has_no_range_whatever_its_colour() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    striped = np.zeros((8, 40), np.uint8)
    striped[:, :3] = 255
    table, views = look([row(encoded(red)), row(encoded(striped))], POLICY, "center_crop")
    assert table["range"].to_pylist() == [0, 0]
    assert table["contrast"].to_pylist() == table["entropy"].to_pylist() == [0, 0]
    assert not np.signbit(table["entropy"].to_numpy()).any()
    assert (views[0, :1024] == 76).all()
    assert (views[0, 1024:].reshape(-1, 3) == (255, 0, 0)).all()
    assert look([row(encoded(striped))], POLICY, "pad")[0]["range"].to_pylist() == [255]


@pytest.mark.parametrize("resize", ["center_crop", "pad", "squash"])
def test_the_rows_are_the_same_in_any_batch_and_strip(resize: Resize, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = rows()
    table, views = look(iter(batch), POLICY, resize)
    singles = [look([one], POLICY, resize) for one in batch]
    assert table.to_pylist() == [found for single, _ in singles for found in single.to_pylist()]
    assert np.array_equal(views, np.concatenate([view for _, view in singles]))
    monkeypatch.setattr(looking, "_STRIP_BYTES", 1000)
    again, views_again = look(batch, POLICY, resize)
    assert again.equals(table)
    assert np.array_equal(views_again, views)


def test_what_can_not_be_decoded_has_its_reason_and_no_figures() -> None:
    batch = rows()
    table, views = look(batch, POLICY, "center_crop")
    for one, found, seen in zip(batch, table.to_pylist(), views, strict=True):
        try:
            picture = decode(one.content, POLICY)
        except UndecodableError as error:
            expected = ("refused", one.fault) if one.fault else (error.reason, error.detail)
            assert (found.pop("reason"), found.pop("detail")) == expected
            assert found.pop("sha256") == bytes(32)
            assert not any(found.values())
            assert not seen.any()
        else:
            assert (found["reason"], found["detail"]) == ("", "")
            assert found["converted"].split() == list(picture.conversions)
            part = view(picture.pixels, "center_crop")
            assert found["range"] == np.ptp(part.reshape(-1, 3 if part.ndim == 3 else 1), axis=0).max()
    assert look([], POLICY, "pad")[0].num_rows == 0


def test_a_large_image_is_measured_in_little_more_memory_than_it_has() -> None:
    content = encoded(np.zeros((4000, 4000), np.uint8))
    tracemalloc.start()
    table, _ = look([row(content)], POLICY, "squash")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table["width"].to_pylist() == [4000]
    assert peak < 120e6  # as floating-point numbers of 64 bits it would be 128 MB, and as bins of its histogram too
