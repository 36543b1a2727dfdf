"""Fashion-MNIST from its four IDX files: 60,000 training and 10,000 test images of ten classes."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where Debian's dataset-fashion-mnist puts it


@dataclass(frozen=True)
class Garments:
    """Images uint8, (N, 1, 28, 28), and labels 0 to 9, of both parts."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @classmethod
    def read(cls, folder: Path = FOLDER) -> "Garments":
        """From `train-` and `t10k-images-idx3-ubyte.gz` and their labels."""

        def values(name: str, offset: int) -> np.ndarray:
            # A copy, for torch wants to be able to write.
            content = gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes())
            return np.frombuffer(content, np.uint8, offset=offset).copy()

        train, test = (values(f"{part}-images-idx3", 16).reshape(-1, 1, 28, 28) for part in ("train", "t10k"))
        labels = [values(f"{part}-labels-idx1", 8).astype(np.int64) for part in ("train", "t10k")]
        return cls(train, labels[0], test, labels[1])


def noised(images: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    """With independent Gaussian noise on each pixel, its standard deviation as a share of the whole scale."""
    noise = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
    return np.clip(np.rint(images + 255 * deviation * noise), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    """Each pixel the mean of 3×3, edges repeated."""
    wide = np.pad(images.astype(np.float32), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[2:]
    shifted = [wide[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.rint(np.mean(shifted, axis=0)).astype(np.uint8)
