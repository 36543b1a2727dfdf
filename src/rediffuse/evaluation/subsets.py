"""Which images of a split are looked at where all would take too long."""

from collections.abc import Sequence

from rediffuse.seeds import hashed_seed


def hashed_order(ids: Sequence[str], seed: int, use: str) -> list[int]:
    """The rows of a split in the order of a hash of (seed, use, id), whatever their order in the split.

    Splits may be sorted by class; hashed, any first part of them is a fair one, and a longer one only adds to it.
    """
    return sorted(range(len(ids)), key=lambda row: (hashed_seed(seed, f"{use}/{ids[row]}"), ids[row]))
