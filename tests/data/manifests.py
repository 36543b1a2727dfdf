"""Manifests made by hand, with what a test does not name filled in."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from rediffuse.data.manifest import MANIFEST, read_table, write_columns


def manifest(labels: Sequence[int], **columns: Any) -> pd.DataFrame:
    """The table of N examples, -1: unlabelled; unless said, each is its own group and nothing is given."""
    count = len(labels)
    ids = columns.get("id", [f"example-{i}" for i in range(count)])
    filled = {
        "id": ids,
        "sha256": [sha256(str(name).encode()).hexdigest() for name in ids],
        "width": [8] * count,
        "height": [8] * count,
        "mode": ["L"] * count,
        "label": [None if label < 0 else label for label in labels],
        "caption": [None] * count,
        "given_split": [None] * count,
        "origin": ids,
        "group": ids,
        "converted": [""] * count,
        "findings": [""] * count,
        "brightness": [0.0] * count,
        "contrast": [0.0] * count,
        "entropy": [0.0] * count,
        "deviations": [None] * count,
        "probability": [None] * count,
        "suggestion": [None] * count,
    }
    table = pd.DataFrame(filled | columns)
    return table.astype({name: str(column.dtype) for name, column in MANIFEST.columns.items()})[list(MANIFEST.columns)]


def rewrite(path: Path, **columns: Any) -> pd.DataFrame:
    """Replace columns of a manifest on disk; give the whole."""
    table = read_table(path, MANIFEST).assign(**columns)
    write_columns(path, MANIFEST, {name: table[name] for name in MANIFEST.columns})
    return table
