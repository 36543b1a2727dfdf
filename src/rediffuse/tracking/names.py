"""Names and texts that MLflow takes for metrics, parameters and tags, whatever a class or a file is called."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rediffuse.tracking import SCORING_STAGE


def safe_name(name: str, keep: str = "") -> str:
    """The name with letters, digits, `_.- ` and what `keep` adds; anything else becomes `_`. At most 250 characters."""
    safe = re.sub(rf"[^\w.\- {re.escape(keep)}]", "_", name)[:250]
    return safe if safe.strip(".") else "_"  # MLflow reads names as paths, and refuses `a/../b`


def as_text(value: Any) -> str:
    """A parameter's value as params.yaml would show it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def summary_names(stage: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of metrics/<stage>.json by their names in MLflow.

    What evaluate nests keeps its own name: `{"fidelity": {"fd": 1.4}}` is `fidelity/fd`. Every other number begins with
    its stage; training's with `train/final_`, because `train/val_loss` is a curve.
    """
    named = {}
    for path, value in _numbers(metrics):
        name = "/".join(safe_name(part) for part in path)
        if stage == "train":
            name = f"train/final_{name}"
        elif stage != SCORING_STAGE or len(path) == 1:
            name = f"{stage}/{name}"
        named[name[:250]] = value
    return named


def _numbers(metrics: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, (*path, key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key), float(value)
