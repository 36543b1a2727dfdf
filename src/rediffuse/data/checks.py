"""The simple checks of cleaning: thresholds on what is known of each image, as boolean masks over all rows.

They see only rows whose image could be decoded. Each mark has one line of detail for the tables of dropped and
quarantined images.
"""

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

from rediffuse.params import ChecksParams

Mask = NDArray[np.bool_]

_SPREAD = math.log(4) / 8
"""Least spread of sizes and of aspects, in logarithms: 8 deviations are at least a factor of 4, 4 one of 2.

Where most images have one size the median deviation is 0, and anything else would be infinitely far. A factor of 4 is
twice the side, or a picture of 2:1 among those of 1:2.
"""

_EXACT = 1e-9  # a deviation this little above the threshold is rounding
_ROWS = 10_000


def missing(present: Mask) -> Mask:
    """Rows without a label (or caption) where at least one other row has one."""
    return ~present if present.any() else np.zeros_like(present)


def name_hashes(ids: pyarrow.ChunkedArray | pyarrow.Array, *, casefold: bool = False) -> NDArray[np.uint64]:
    """A 64-bit hash (BLAKE2b) of each id, or of the id without regard to case; some thousand strings at a time."""
    hashes = np.empty(len(ids), np.uint64)
    for start in range(0, len(ids), _ROWS):
        names = ids.slice(start, _ROWS).to_pylist()
        if casefold:
            names = [name.casefold() for name in names]
        digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
        hashes[start : start + _ROWS] = np.frombuffer(digests, "<u8")
    return hashes


def name_collisions(names: NDArray[np.uint64], folded: NDArray[np.uint64]) -> Mask:
    """Rows whose id is another's but for case, from the hashes of the ids and of the casefolded ids: a whole set."""
    order = np.lexsort((names, folded))
    same = folded[order][1:] == folded[order][:-1]
    clash = same & (names[order][1:] != names[order][:-1])
    starts = np.concatenate([[True], ~same]) if len(names) else np.zeros(0, np.bool_)
    sets = np.cumsum(starts) - 1
    marked = np.zeros(int(starts.sum()), np.bool_)
    marked[sets[1:][clash]] = True
    mask = np.zeros(len(names), np.bool_)
    mask[order] = marked[sets]
    return mask


def blank(spread: NDArray[Any], limit: float) -> Mask:
    """Brightest and darkest level at most `limit` apart, in the channel where they are furthest."""
    return np.asarray(spread <= limit)


def dark(brightness: NDArray[Any], level: float) -> Mask:
    """Mean level at most `level`."""
    return np.asarray(brightness <= level)


def bright(brightness: NDArray[Any], level: float) -> Mask:
    """Mean level at least `level`."""
    return np.asarray(brightness >= level)


def low_information(entropy: NDArray[Any], bits: float) -> Mask:
    """Entropy of the grey levels at most `bits`."""
    return np.asarray(entropy <= bits)


def size_outliers(width: NDArray[Any], height: NDArray[Any], deviations: float) -> Mask:
    """log(width × height) more than `deviations` robust standard deviations from the median."""
    return _far(np.log(width.astype(np.float64)) + np.log(height.astype(np.float64)), deviations)


def aspect_outliers(width: NDArray[Any], height: NDArray[Any], deviations: float) -> Mask:
    """log(width / height) more than `deviations` robust standard deviations from the median."""
    return _far(np.log(width.astype(np.float64)) - np.log(height.astype(np.float64)), deviations)


def _far(logs: NDArray[np.float64], deviations: float) -> Mask:
    if not len(logs):
        return np.zeros(0, np.bool_)
    distance = np.abs(logs - np.median(logs))
    return np.asarray(distance > deviations * max(1.4826 * float(np.median(distance)), _SPREAD) + _EXACT)


def class_outlier(scores: NDArray[np.float32], deviations: float) -> Mask:
    """Scores of `class_outliers` above `deviations`; NaN is none."""
    return np.asarray(scores > deviations)


def label_suspect(probability: NDArray[np.float32], suggestion: NDArray[np.int32], limit: float) -> Mask:
    """Labels of a probability at most `limit` for which there is a likelier class; NaN is none."""
    return np.asarray((probability <= limit) & (suggestion >= 0))


def detail(check: str, checks: ChecksParams, row: Mapping[str, Any]) -> str:
    """One line on why a check marks a row.

    Args:
        check: the name of any check but `duplicate` and `near_duplicate`.
        row: the columns that the check looks at: range, brightness, entropy, width and height, deviations, or
            probability with the names of the label and of the suggestion.
    """
    match check:
        case "missing_label":
            return "no label, where other images have one"
        case "missing_caption":
            return "no caption, where other images have one"
        case "name_collision":
            return "another image's id differs only in case"
        case "blank":
            return f"levels {row['range']:g} apart, at most {checks.blank.range:g} is blank"
        case "dark":
            return f"mean level {row['brightness']:.4g}, at most {checks.dark.level:g} is dark"
        case "bright":
            return f"mean level {row['brightness']:.4g}, at least {checks.bright.level:g} is bright"
        case "low_information":
            return f"entropy {row['entropy']:.3g} bits, at most {checks.low_information.bits:g} is low"
        case "size_outlier":
            limit = checks.size_outlier.deviations
            return f"{row['width']} × {row['height']} pixels, over {limit:g} deviations from the median size"
        case "aspect_outlier":
            limit = checks.aspect_outlier.deviations
            return f"{row['width']} × {row['height']} pixels, over {limit:g} deviations from the median shape"
        case "class_outlier":
            return f"{row['deviations']:.2f} deviations from its class, over {checks.class_outlier.deviations:g} is far"
        case "label_suspect":
            limit = checks.label_suspect.probability
            said = f"{row['label']!r} has probability {row['probability']:.2g}, at most {limit:g} is suspect"
            return f"{said}; likelier is {row['suggestion']!r}"
    raise ValueError(f"{check} is no check of this module")
