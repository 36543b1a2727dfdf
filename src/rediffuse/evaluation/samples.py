"""Generated images and the classes they were asked for, as the stage `sample` leaves them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.classifier import Images, Labels


@dataclass(frozen=True)
class Samples:
    """Generated pairs.

    Args:
        images: uint8, (N, C, H, W).
        labels: the class asked for, (N,); -1 where none was.
    """

    images: Images
    labels: Labels


def read_samples(images: Path, labels: Path, shape: tuple[int, int, int], least: int) -> Samples:
    """The pairs in two .npy files.

    Args:
        shape: (C, H, W) of the real images, which the samples must share.
        least: number of samples that scoring needs.

    Raises:
        UserError: a file is missing or no array, or the two don't fit each other or the real images.
    """
    arrays = []
    for path in (images, labels):
        try:
            # Not np.load: that opens archives too.
            with path.open("rb") as file:
                arrays.append(np.lib.format.read_array(file, allow_pickle=False))
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path} can't be read: {reason}; run the stage sample first") from None
    pixels, asked = arrays
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
        raise UserError(f"{images} holds {pixels.dtype} {pixels.shape[1:]}, but the real images are uint8 {shape}")
    if asked.dtype.kind not in "iu":
        raise UserError(f"{labels} holds {asked.dtype}, not whole numbers; run the stage sample again")
    if asked.shape != (len(pixels),):
        raise UserError(f"{labels} has shape {asked.shape}, but {images.name} holds {len(pixels)} images")
    if len(pixels) < least:
        raise UserError(f"{images} holds {len(pixels)} images; with these params.yaml: evaluate scoring needs {least}")
    return Samples(pixels, asked.astype(np.int64))
