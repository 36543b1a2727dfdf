"""The tables of the data stages, read together: every row of the source is in one of them, once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rediffuse.data.card import Card
from rediffuse.data.manifest import MANIFEST, OVERLAP, REJECTED, SPLIT, SPLITS, read_table
from rediffuse.data.shards import read_manifest
from rediffuse.errors import UserError
from rediffuse.workspace import Workspace

UNLABELLED = "no label"

# What the page shows, and no more: a million rows are to fit.
_KEPT = (
    "id", "sha256", "width", "height", "label", "group", "converted", "findings", "brightness", "contrast", "entropy",
    "deviations", "probability", "suggestion",
)  # fmt: skip
_NOT_KEPT = ("id", "label", "reason", "detail", "group")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What clean and split made of the source's rows.

    Args:
        card: of the cleaned data.
        found: rows of the source.
        kept: the manifest, with the column split.
        quarantined, rejected: the rows that are set aside and those that are dropped.
    """

    card: Card
    found: int
    kept: pd.DataFrame
    quarantined: pd.DataFrame
    rejected: pd.DataFrame

    @classmethod
    def read(cls, workspace: Workspace) -> "Tables":
        """The tables of one pipeline run.

        Raises:
            UserError: a file is missing or damaged, or they were not made with each other.
        """
        prepared, card = read_manifest(workspace.prepared), Card.read(workspace.card)
        kept, assigned = read_table(workspace.manifest, MANIFEST, _KEPT), read_table(workspace.split, SPLIT)
        quarantined, rejected = (
            read_table(path, REJECTED, _NOT_KEPT) for path in (workspace.quarantined, workspace.rejected)
        )
        if not kept["id"].equals(assigned["id"]):
            raise UserError(
                f"{workspace.manifest} ({len(kept)} examples) and {workspace.split.name} ({len(assigned)}) don't list "
                "the same examples; run dvc repro"
            )
        if prepared.rows != len(kept) + len(quarantined) + len(rejected):
            raise UserError(
                f"{workspace.prepared} holds {prepared.rows} images, but {workspace.manifest.name}, "
                f"{workspace.quarantined.name} and {workspace.rejected.name} list {len(kept)} + {len(quarantined)} + "
                f"{len(rejected)}; run dvc repro"
            )
        return cls(
            card=card,
            found=prepared.rows,
            kept=kept.assign(split=assigned["split"]),
            quarantined=quarantined,
            rejected=rejected,
        )

    @property
    def splits(self) -> dict[str, int]:
        """Examples in train, val and test, and those in none of them, where there are such."""
        counts = self.kept["split"].value_counts()
        return {name: int(counts.get(name, 0)) for name in (*SPLITS, OVERLAP) if name in SPLITS or name in counts}

    def outcomes(self, names: tuple[str, ...]) -> pd.DataFrame:
        """How many images each reason dropped, set aside and only marked: columns of these names, a row a reason."""
        columns = {
            "dropped": self.rejected["reason"].value_counts(),
            "quarantined": self.quarantined["reason"].value_counts(),
            "marked": words_counted(self.kept["findings"]),
        }
        counts = pd.DataFrame({name: column.reindex(names, fill_value=0) for name, column in columns.items()})
        return counts.astype(np.int64)

    def class_counts(self) -> pd.DataFrame:
        """Examples of each class (rows, by name) in train, val and test (columns)."""
        labels = self.kept["label"].fillna(-1).to_numpy(dtype=np.int64)
        splits = self.kept["split"].to_numpy(dtype=object)
        classes = self.card.classes
        counts = {
            name: np.bincount(labels[(splits == name) & (labels >= 0)], minlength=len(classes)) for name in SPLITS
        }
        return pd.DataFrame(counts, index=list(classes))

    def label(self, label: Any) -> str:
        """The class name of a label, or that there is none."""
        return self.card.classes[int(label)] if self.card.classes and not pd.isna(label) else UNLABELLED


def words_counted(column: pd.Series) -> pd.Series:
    """How often each word occurs in a column of words joined by spaces."""
    # Few values are different, however many rows there are.
    texts = column.value_counts()
    counts: dict[str, int] = {}
    for text, times in texts.items():
        for word in str(text).split():
            counts[word] = counts.get(word, 0) + int(times)
    return pd.Series(counts, dtype=np.int64)


def marked(column: pd.Series, word: str) -> np.ndarray:
    """Positions of the rows whose words, joined by spaces, hold `word`."""
    texts = {str(text): word in str(text).split() for text in column.unique()}
    return np.flatnonzero(column.map(texts).to_numpy(dtype=bool))
