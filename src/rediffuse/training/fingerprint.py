"""The name of a training: all that decides its numbers, hashed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(parts: Mapping[str, Any]) -> str:
    """The name of all that decides a training's numbers: equal parts, equal bytes, and so one state to resume from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
