"""Numbers as they are written down: six significant digits, more than any score is good for."""

from typing import Any


def rounded(value: Any) -> Any:
    """`value` with every float in it, however deep in dicts, lists and tuples, at six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value
