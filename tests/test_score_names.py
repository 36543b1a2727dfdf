"""The list of names is that of metrics/evaluate.json, so that a condition on any other is a mistake."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rediffuse import files
from rediffuse.rules import dotted
from rediffuse.score_names import NAMES, check_name, is_known, suggestions
from tests.repository import Repository

# What the tiny pipeline leaves out: canaries, classes with too few images, scores of every single class, and what
# needs as many generated images as real ones.
ABSENT = ("memorisation.canaries.", "fidelity.by_class.", "utility.cas_gap")


def leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names of all numbers."""
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            yield from leaves(entry, (*path, key))
        elif isinstance(entry, int | float):
            yield (*path, key)


def test_the_names_are_those_of_a_real_evaluation(finished: Repository) -> None:
    metrics = files.read_json(finished.workspace.metrics("evaluate"))
    if "fd_low" not in metrics["fidelity"]:
        pytest.skip("scores without intervals: the evaluation is of another version")
    written = list(leaves({key: value for key, value in metrics.items() if key not in ("protocol", "verdicts")}))
    assert [dotted(name) for name in written if not is_known(name)] == []
    unused = {
        ".".join(known)
        for known in NAMES
        if not any(
            len(known) == len(name) and all(part in ("*", own) for part, own in zip(known, name, strict=True))
            for name in written
        )
    }
    assert {name for name in unused if not name.startswith(ABSENT)} == set()


@pytest.mark.parametrize(
    ("name", "close"),
    [
        (("fidelity", "fdd"), "fidelity.fd"),
        (("utility", "cas_acuracy"), "utility.cas_accuracy"),
        (("fidelity", "by_class", "3", "recal"), "fidelity.by_class.3.recall"),
        (("fd",), "fidelity.fd"),
        (("by_extractor", "pca", "fd_flor"), "by_extractor.pca.fd_floor"),
    ],
)
def test_a_mistyped_name_is_refused_with_the_one_that_is_meant(name: tuple[str, ...], close: str) -> None:
    assert suggestions(name)[0] == close
    with pytest.raises(ValueError, match=f"metrics/evaluate.json never has a .*; did you mean {close}"):
        check_name(name)


def test_free_parts_take_any_word_and_the_others_none() -> None:
    for name in (("fidelity", "by_class", "T-shirt/top", "fd"), ("utility", "augmentation", "all", "gain_low")):
        check_name(name)
    for name in (("fidelity", "by_class", "3"), ("fidelity", "3", "fd"), ("protocol", "fidelity", "images")):
        assert not is_known(name)
