"""The main of a stage's file: parameters in, tracked run around, one line and an exit code where it can't go on."""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rediffuse.errors import LeavingError, TryAgainError, UserError, VerdictError
from rediffuse.leaving import stay, watched
from rediffuse.params import Params, RuntimeParams, load_params
from rediffuse.provenance.inputs import check_inputs
from rediffuse.provenance.made import write_record
from rediffuse.tracking import Untracked, open_run
from rediffuse.workspace import Workspace

if TYPE_CHECKING:
    from rediffuse.tracking.run import TrackedRun


Value = TypeVar("Value")


class Member(Protocol):
    """One of the processes that compute a stage; `processes.Processes` is one."""

    @property
    def first(self) -> bool:
        """Whether this is the one that prints and writes."""
        ...

    def broadcast(self, value: Value) -> Value:
        """The first one's value, on all of them."""
        ...


# What no code can do anything about, whatever file it is; and what is the user's where the file is one of the
# workspace's, and a bug where it is another.
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}

Joined = Callable[[str, RuntimeParams], AbstractContextManager[Member]]
"""(what `python -m` runs, the section `runtime`) -> this process among others; see `joining.joined`."""


@dataclass(frozen=True)
class _Alone:
    first: bool = True

    def broadcast(self, value: Value) -> Value:
        return value


def _alone(module: str, runtime: RuntimeParams) -> AbstractContextManager[Member]:  # noqa: ARG001
    return nullcontext(_Alone())


def run_stage(
    stage: Callable[..., dict[str, Any]], *, live: bool = False, tracked: bool = True, joined: Joined = _alone
) -> None:
    """Run a stage in the working folder with its params.yaml, inside the pipeline's MLflow run.

    Args:
        stage: `stage(params, workspace) -> metrics`; its name is the stage's name in dvc.yaml.
        live: hand the stage the run as a third argument, for curves and previews while it works.
        tracked: let MLflow know of it, where `runtime.tracking` is on.
        joined: how this process becomes one of those that compute the stage; without, it is the only one.

    Under DVC the stage's inputs are compared with dvc.lock before it starts; what made its outs is noted when it ends.

    The process ends with 0, with 2 after a `UserError` or with 75 after a `TryAgainError` or a signal; each is one line
    `stage NAME: message` on stderr. A `VerdictError` ends it when all that the stage wrote is told and noted. A full
    disk is a `TryAgainError`, a file of the workspace that this user may not read or write a `UserError`. Any other
    exception is a bug and keeps its traceback.
    """
    name = stage.__name__
    with ending(name):
        workspace = Workspace.here()
        params = load_params(workspace.params)
        with joined(f"stages.{name}", params.runtime) as member:
            # Each may have read a params.yaml of its own; all must exchange and save at the same steps.
            params = params.model_copy(update={"runtime": member.broadcast(params.runtime)})
            if member.first:
                check_inputs(workspace, name)
            else:
                params = params.model_copy(update={"runtime": _silent(params.runtime)})
            with _run_of(name, params, workspace, tracked and params.runtime.tracking) as run:
                refused: VerdictError | None = None
                with disk_told(workspace.root, workspace.home):
                    try:
                        stage(params, workspace, run) if live else stage(params, workspace)
                    except VerdictError as error:
                        refused = error
                    # All is written; to leave now would only have it made again.
                    stay()
                    if member.first:
                        write_record(workspace, name)
                run.finish_stage(name, refused=refused is not None)
                if refused:
                    raise refused


@contextmanager
def ending(name: str) -> Iterator[None]:
    """All that a process of this name does, which it may be asked to leave; see `run_stage` for how it ends."""
    try:
        with watched(name):
            yield
    except (UserError, TryAgainError, LeavingError) as error:
        sys.stderr.write(f"stage {name}: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)


@contextmanager
def disk_told(*roots: Path) -> Iterator[None]:
    """Tell a full disk as `TryAgainError`, and a file below `roots` that this user may not use as `UserError`."""
    try:
        yield
    except OSError as error:
        file = error.filename2 or error.filename
        where = f" ({file})" if file else ""
        if error.errno in _FULL:
            raise TryAgainError(f"{error.strerror}{where}; make room, and the same command goes on") from error
        ours = isinstance(file, str) and any(Path(file).absolute().is_relative_to(root.absolute()) for root in roots)
        if error.errno in _FORBIDDEN and ours:
            raise UserError(f"{error.strerror}{where}; this user must be able to read and write there") from error
        raise


def _silent(runtime: RuntimeParams) -> RuntimeParams:
    return runtime.model_copy(update={"tracking": False, "progress": False})


def _run_of(
    name: str, params: Params, workspace: Workspace, tracked: bool
) -> "AbstractContextManager[TrackedRun | Untracked]":
    return open_run(params, workspace, name) if tracked else nullcontext(Untracked())
