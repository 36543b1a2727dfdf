"""Fashion-MNIST from its IDX files: 60,000 training and 10,000 test images of ten classes."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from rediffuse.data.dataset import Examples
from rediffuse.data.sources.idx import Idx

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where Debian's dataset-fashion-mnist puts it


def garments(folder: Path = FOLDER) -> tuple[Examples, Examples, tuple[str, ...]]:
    """The training pair and the test pair, images uint8 (N, 1, 28, 28), and the names of the classes."""
    source = Idx(folder)
    rows = list(source)
    train, test = ([row for row in rows if row.split == part] for part in ("train", "test"))
    first, second = (
        Examples(
            images=np.stack([np.asarray(Image.open(BytesIO(row.content))) for row in part])[:, None],
            labels=np.array([row.label for row in part], np.int64),
            ids=tuple(row.id for row in part),
        )
        for part in (train, test)
    )
    return first, second, source.classes
