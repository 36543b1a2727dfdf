"""Where cleaning stops, because what is left is no data set to train on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rediffuse.data.cleaning.explanation import Explanation
from rediffuse.data.cleaning.rows import Array, Rows
from rediffuse.data.cleaning.verdicts import KEEP, REASONS, Verdicts
from rediffuse.data.manifest import SPLITS
from rediffuse.errors import UserError

_ROUNDING = 1e-9  # 0.29 × 100 is a little less than 29


def refuse_what_is_left(
    rows: Rows, verdicts: Verdicts, explanation: Explanation, classes: Sequence[str], max_rejected_share: float
) -> None:
    """Look at what is kept.

    Raises:
        UserError: too many rows go, none stays, or a class or a part that the source gives is left without images.
    """
    gone = np.flatnonzero(verdicts.action != KEEP)
    if len(gone) == len(rows) or len(gone) > max_rejected_share * len(rows) + _ROUNDING:
        raise UserError(
            f"{len(gone)} of {len(rows)} images are rejected: {_commonest(rows, verdicts, explanation, gone)}; "
            f"allowed is a share of clean.max_rejected_share ({max_rejected_share}), and one image has to stay"
        )
    kept = verdicts.kept
    labels = set(np.unique(rows.label[kept]).tolist())
    for label, name in enumerate(classes):
        if label not in labels:
            why = _lost(verdicts, np.flatnonzero(rows.label == label))
            raise UserError(f"the class {name!r} is left without images ({why}); each class needs at least one")
    # Without this, later stages would take the source for one without a test set, and cut another from what is left.
    given, left = (set(np.unique(of).tolist()) - {0} for of in (rows.given, rows.given[kept]))
    train, test = 1 + SPLITS.index("train"), 1 + SPLITS.index("test")
    needed = given | {train} if given else set()
    # A training part alone is no part: the source has brought another, and it is empty.
    needed |= {test} if given == {train} else set()
    for part in sorted(needed - left):
        why = _lost(verdicts, np.flatnonzero(rows.given == part))
        raise UserError(
            f"the source's own {SPLITS[part - 1]} set is left without images ({why}); it needs at least one image, "
            "or has to be left out as a whole"
        )


def _commonest(rows: Rows, verdicts: Verdicts, explanation: Explanation, gone: Array) -> str:
    """The three commonest reasons, each with its first example."""
    reasons = verdicts.reason[gone]
    texts = []
    for reason, times in Counter(reasons.tolist()).most_common(3):
        first = int(gone[np.argmax(reasons == reason)])
        texts.append(f"{times} as {REASONS[reason]} ({rows.origin(first)!r}: {explanation.of(first)})")
    return ", ".join(texts)


def _lost(verdicts: Verdicts, positions: Array) -> str:
    """How many of some rows went for which reason."""
    reasons = Counter(REASONS[reason] for reason in verdicts.reason[positions].tolist() if reason >= 0)
    return ", ".join(f"{times} {reason}" for reason, times in sorted(reasons.items())) or "it has none"
