"""The dvc process that started this one."""

import os
from contextlib import suppress

import psutil
from psutil import Process

__all__ = ["Process", "dvc_above", "lives", "orphaned"]


def dvc_above() -> Process | None:
    """The nearest dvc process among those that started this one: `dvc repro`, or a queue's `dvc exp exec-run`."""
    with suppress(psutil.Error):
        for process in Process().parents():
            # One of another user may not be looked at.
            with suppress(psutil.Error):
                if is_dvc(process.cmdline()):
                    return process
    return None


def orphaned() -> bool:
    """Whether the process that started this stage died before it could be found.

    DVC gives DVC_STAGE to what it starts, so the first process upwards without it is the one that started the stage, or
    whoever (init, systemd) took in the orphans of the dead. A child begins in its parent's process group, so the latter
    shows by a group that the stage is neither in nor leads itself. Where no such process can be seen, as from another
    PID namespace or machine, nothing is known; nor where dvc was a child of a PID 1 that shares its group.
    """
    if "DVC_STAGE" not in os.environ:
        return False
    try:
        top = Process()
        for above in top.parents():
            if not _under_dvc(above):
                return os.getpgid(top.pid) not in (top.pid, os.getpgid(above.pid))
            top = above
    except (psutil.Error, OSError):
        return False
    return False


def _under_dvc(process: Process) -> bool:
    """Whether DVC_STAGE was set when it started; what may not be read is another user's, as init is."""
    try:
        return "DVC_STAGE" in process.environ()
    except psutil.AccessDenied:
        return False


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
