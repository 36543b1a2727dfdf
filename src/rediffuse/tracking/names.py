"""Names and texts that MLflow takes for metrics, parameters and tags, whatever a class or a file is called."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rediffuse.tracking import SCORED_BY

_VERDICTS = {"met": 1.0, "not met": 0.0}
_PART = 100  # characters of a class's or an extractor's name, so that what stands behind it is never cut off


def safe_name(name: str, keep: str = "") -> str:
    """The name with letters, digits, `_.- ` and what `keep` adds; anything else becomes `_`. At most 250 characters."""
    safe = re.sub(rf"[^\w.\- {re.escape(keep)}]", "_", name)[:250]
    return safe if safe.strip(".") else "_"  # MLflow reads names as paths, and refuses `a/../b`


def part_names(names: Iterable[str]) -> dict[str, str]:
    """Safe names for what stands side by side, classes say: those that would be alike (`+` and `=`) end in a hash."""
    safe = {name: safe_name(name) for name in names}
    count = Counter(safe.values())
    return {
        name: each
        if count[each] == 1 and len(each) <= _PART
        else f"{each[: _PART - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        for name, each in safe.items()
    }


def as_text(value: Any) -> str:
    """A parameter's value as params.yaml would show it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def summary_names(stage: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of metrics/<stage>.json by their names in MLflow, the same for every family and data set.

    What evaluate nests keeps its own name: `{"fidelity": {"fd": 1.4}}` is `fidelity/fd`, and a verdict is 1 (met) or 0
    (not met). Every other number begins with its stage; training's with `train/final_`, because `train/val_loss` is a
    curve. The numbers of a protocol are no results: `score_tags` has evaluate's.
    """
    named = {}
    for path, value in _results(stage, metrics):
        name = "/".join(path)
        if stage == "train":
            name = f"train/final_{name}"
        elif stage != SCORED_BY or len(path) == 1:
            name = f"{stage}/{name}"
        named[name[:250]] = value
    return named


def score_tags(metrics: Mapping[str, Any], stage: str = SCORED_BY) -> dict[str, str]:
    """What metrics/<stage>.json says in words: `verdict.fidelity`, and the protocol, `protocol.fidelity.images`.

    That of another stage than evaluate is one of its blocks: `protocol.sweep.images`.
    """
    protocol = metrics.get("protocol") or {}
    blocks = protocol if stage == SCORED_BY else {stage: protocol}
    # An extractor may be named like a file; its scores' names have no slash for it either.
    tags = {".".join(("protocol", *path))[:250]: as_text(value) for path, value in _leaves(blocks)}
    return tags | {f"verdict.{aspect}": judged["verdict"] for aspect, judged in _verdicts(metrics).items()}


def _results(stage: str, metrics: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    yield from _numbers({name: block for name, block in metrics.items() if name not in {"protocol", "verdicts"}})
    if stage != SCORED_BY:
        return
    for aspect, judged in _verdicts(metrics).items():
        if judged["verdict"] in _VERDICTS:
            yield ("verdicts", aspect), _VERDICTS[judged["verdict"]]


def _verdicts(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    return metrics.get("verdicts") or {}


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    for path, value in _leaves(metrics):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield path, float(value)


def _leaves(nested: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value that is no mapping, with the safe names on the way to it."""
    safe = part_names(nested)
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, safe[key]))
        else:
            yield (*path, safe[key]), value
