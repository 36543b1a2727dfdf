"""Which answers of a store are its last word on what it was told, and which may be another tomorrow."""

import re

from mlflow.exceptions import MlflowException

# Who asks is not known yet, asks too often, too slowly, or at the same time as another.
_PASSING = {401, 407, 408, 409, 421, 423, 425, 429, 499}


def is_refused(error: BaseException) -> bool:
    """Whether a store will never take what it was told: it answered with a status of HTTP's 400s, or as if it had."""
    status = _status(error)
    return 400 <= status < 500 and status not in _PASSING


def _status(error: BaseException) -> int:
    """The status of HTTP, or what stands for it; 0 where there was no answer."""
    if isinstance(error, MlflowException):
        # MLflow has no code of its own for every status (413, say), and calls those an internal error.
        named = re.search(r"failed with error code (\d{3}) ", str(error))
        return int(named[1]) if named else int(error.get_http_status_code())
    # An artifact is sent by `requests`, whose error holds the answer.
    return int(getattr(getattr(error, "response", None), "status_code", None) or 0)
