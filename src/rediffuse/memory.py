"""Where memory runs out: one line that says which parameter to lower. None is lowered by itself: numbers hang on it."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from rediffuse.errors import UserError

# As torch's allocators, CUDA's libraries and C++ word it; torch.OutOfMemoryError is a RuntimeError, too.
_WORDS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "bad_alloc")
_AMOUNT = re.compile(r"(?:tried to allocate|unable to allocate) ([\d.]+ [kmgtpe]?i?b(?:ytes)?)\b", re.IGNORECASE)


@contextmanager
def advised(advice: str) -> Iterator[None]:
    """Around what may run out of memory, as a context or as a decorator.

    Args:
        advice: what to change, by the names of the keys.

    Raises:
        UserError: the CPU's or the GPU's memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not _is_lack(error):
            raise
        found = _AMOUNT.search(str(error))
        wanted = f" ({found[1]} more were asked for)" if found else ""
        raise UserError(f"out of memory{wanted}; {advice}") from None


def _is_lack(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)
