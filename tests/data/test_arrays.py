import io
from pathlib import Path

import numpy as np
import pytest

from rediffuse.data.arrays import ArrayWriter


@pytest.mark.parametrize("count", [0, 1, 9, 10, 1234])
def test_the_file_is_what_numpy_would_save(tmp_path: Path, count: int) -> None:
    array = np.random.default_rng(count).integers(0, 256, (count, 3, 2, 2), dtype=np.uint8)
    with ArrayWriter(tmp_path / "a.npy", (3, 2, 2)) as writer:
        for start in range(0, count, 100):
            writer.extend(array[start : start + 100])
    expected = io.BytesIO()
    np.save(expected, array)
    assert (tmp_path / "a.npy").read_bytes() == expected.getvalue()


def test_moments_are_those_of_the_pixels_on_minus_one_to_one(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 200, (50, 1, 4, 4), dtype=np.uint8)
    with ArrayWriter(tmp_path / "a.npy", (1, 4, 4)) as writer:
        writer.extend(array[:20])
        writer.extend(array[20:])
    scaled = array / 127.5 - 1
    assert writer.moments() == pytest.approx((scaled.mean(), scaled.std()), abs=1e-12)


def test_the_digest_sees_pixels_labels_and_shape(tmp_path: Path) -> None:
    def digest(values: list[int], labels: list[int], shape: tuple[int, int, int]) -> str:
        with ArrayWriter(tmp_path / "a.npy", shape) as writer:
            writer.extend(np.array(values, np.uint8).reshape(-1, *shape))
        return writer.digest(labels)

    base = digest([1, 2, 3, 4], [0, 1], (1, 1, 2))
    assert base == digest([1, 2, 3, 4], [0, 1], (1, 1, 2))
    others = [
        digest([1, 2, 3, 5], [0, 1], (1, 1, 2)),
        digest([1, 2, 3, 4], [1, 0], (1, 1, 2)),
        digest([1, 2, 3, 4], [0, 1], (1, 2, 1)),
    ]
    assert len({base, *others}) == 4


def test_an_example_of_another_shape_is_a_bug(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a.npy", (1, 4, 4)) as writer, pytest.raises(ValueError, match="not uint8"):
        writer.extend(np.zeros((2, 4, 4), np.uint8))
