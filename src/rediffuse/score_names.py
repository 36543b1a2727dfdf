"""The names of all numbers that metrics/evaluate.json may hold, so that a condition on one that no run has is refused.

`*` stands for a part that is the data's or the user's own: a class, an extractor, a count of real images. Not every run
has every score: data without classes has no `utility`, `likelihood` may be none.
"""

import difflib
from collections.abc import Iterator

from rediffuse.rules import Name, dotted

ANY = "*"

_DISTRIBUTION = ("fd", "kid", "mmd", "precision", "recall", "f1", "density", "coverage")
_ENDS = ("", "_low", "_high")
_AUDIT_SINGLE = (
    "ct_floor",
    "authenticity_floor",
    "nearest_ratio",
    "nearest_ratio_floor",
    "pixel_copies",
    "pixel_copies_floor",
)


def _with_interval(*names: str) -> list[str]:
    return [f"{name}{end}" for name in names for end in _ENDS]


def _flat(block: str) -> Iterator[str]:
    """The scores of one set of images by one extractor."""
    for name in (*_with_interval(*_DISTRIBUTION), *_with_interval(*(f"{score}_floor" for score in _DISTRIBUTION))):
        yield f"{block}.{name}"
    yield from (f"{block}.fd_full", f"{block}.kid_subset_sd")


def _names() -> Iterator[str]:
    yield "n_samples"
    yield from _flat("fidelity")
    yield from (f"fidelity.labels.{name}" for name in _with_interval("deviation", "deviation_floor"))
    yield from (f"fidelity.labels.by_class.*.{name}" for name in ("asked", "seen", "real"))
    by_class = (*_with_interval("fd", "recall", "fd_floor", "recall_floor"), "images")
    yield from (f"fidelity.by_class.*.{name}" for name in by_class)
    yield from _flat("by_extractor.*")
    yield from (f"controls.*.{name}" for name in (*_DISTRIBUTION, "images"))

    macro = ("cas_macro_precision", "cas_macro_recall", "cas_macro_f1")
    accuracies = ("gan_test_accuracy", "cas_accuracy", *macro, "real_accuracy", "cas_gap")
    yield from (f"utility.{name}" for name in _with_interval(*accuracies))
    yield from ("utility.gan_test_accuracy_shuffled", "utility.cas_val_accuracy", "utility.gan_test_recall.*")
    yield from (f"utility.per_class.*.{name}" for name in ("precision", "recall", "f1"))
    gains = ("real_accuracy", "accuracy", *_with_interval("gain"))
    yield from (f"utility.augmentation.*.{name}" for name in gains)

    audit = (
        *_with_interval("ct", "authenticity", "membership_auc", "membership_tpr", "copies", "copies_floor"),
        *_AUDIT_SINGLE,
    )
    yield from (f"memorisation.{name}" for name in audit)
    canaries = ("count", "repeats", *_with_interval("exposure"), "exposure_by_chance", "extracted")
    yield from (f"memorisation.canaries.{name}" for name in canaries)

    bits = (*_with_interval("bits_per_dim"), "bits_per_dim_baseline", "stderr", "n")
    yield from (f"likelihood.{name}" for name in bits)


NAMES: tuple[Name, ...] = tuple(tuple(name.split(".")) for name in _names())


def is_known(name: Name) -> bool:
    """Whether some run may have a score of this name."""
    return any(_fits(name, known) for known in NAMES)


def check_name(name: Name) -> None:
    """Refuse a name that no run can have.

    Raises:
        ValueError: it is none of NAMES; the message names those that may be meant.
    """
    if not is_known(name):
        close = suggestions(name)
        meant = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(f"metrics/evaluate.json never has a {dotted(name)}{meant}")


def suggestions(name: Name) -> list[str]:
    """The names that somebody who wrote this one may have meant, best first, two at most."""
    written = dotted(name)
    # Where a part is free, what was written there is taken.
    filled = [
        dotted(tuple(part if part != ANY or at >= len(name) else name[at] for at, part in enumerate(known)))
        for known in NAMES
    ]
    close = difflib.get_close_matches(written, filled, n=2, cutoff=0.75)
    close = close or [other for other, known in zip(filled, NAMES, strict=True) if known[-1] == name[-1]][:2]
    return [other.replace(f'["{ANY}"]', f".{ANY}") for other in close]


def _fits(name: Name, known: Name) -> bool:
    return len(name) == len(known) and all(part in (ANY, own) for part, own in zip(known, name, strict=True))
