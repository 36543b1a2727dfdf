"""The dvc process that started this one."""

from contextlib import suppress

import psutil
from psutil import Process

__all__ = ["Process", "dvc_above", "lives"]


def dvc_above() -> Process | None:
    """The nearest dvc process among those that started this one: `dvc repro`, or a queue's `dvc exp exec-run`."""
    with suppress(psutil.Error):
        for process in Process().parents():
            # One of another user may not be looked at.
            with suppress(psutil.Error):
                if is_dvc(process.cmdline()):
                    return process
    return None


def is_dvc(command: list[str]) -> bool:
    """Whether a command line is dvc's: its script, with or without the interpreter before it, or `-m dvc`."""
    names = [word.rpartition("/")[2] for word in command]
    if names[:1] == ["dvc"]:
        return True
    if not names or not names[0].lower().startswith("python"):
        return False
    for position in range(1, len(names)):
        if command[position] in ("-m", "-c"):
            return command[position : position + 2] == ["-m", "dvc"]
        if not command[position].startswith("-") and command[position - 1] not in ("-X", "-W"):
            return names[position] == "dvc"
    return False


def lives(process: Process) -> bool:
    """Whether it still runs: not ended, no zombie, and no other process under its number."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
