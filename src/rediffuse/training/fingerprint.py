"""The name of a training: all that decides its numbers, hashed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Equal parts give equal bytes, and so one state to resume from.

    Args:
        parts: JSON values.

    Returns:
        64 hex digits.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
