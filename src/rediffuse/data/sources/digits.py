"""scikit-learn's handwritten digits: 1,797 grey images of 8×8, inside a dependency, so nothing is fetched."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rediffuse.data.png import encode_png
from rediffuse.data.sources.labels import Classes
from rediffuse.data.sources.source import About, Row


class Digits:
    """`sklearn.datasets.load_digits`. Its grey levels 0 to 16 become round(level · 255 / 16), in uint8.

    Args:
        path: not looked at; every source is made of one.
        classes: ten names in place of the digits; None: "0" to "9".
    """

    name = "digits"
    about = About(
        origin="Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, test set (in scikit-learn)",
        licence="CC BY 4.0",
    )

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        del path
        # Here and not above: the other sources need not wait half a second for scikit-learn.
        from sklearn.datasets import load_digits

        bunch = load_digits()
        self._images: np.ndarray = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        named = Classes(classes or [str(name) for name in bunch.target_names])
        self._labels = [named.position(label, f"digits#{i}") for i, label in enumerate(bunch.target.tolist())]
        self.classes = named.names

    def __iter__(self) -> Iterator[Row]:
        for i, (pixels, label) in enumerate(zip(self._images, self._labels, strict=True)):
            origin = f"sklearn.datasets.load_digits#{i}"
            yield Row(id=f"digits-{i:04d}", content=encode_png(pixels), label=label, origin=origin)
