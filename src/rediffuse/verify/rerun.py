"""The pipeline once more: a copy of this tree, with nothing of what was made, and `dvc repro` there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rediffuse.errors import UserError
from rediffuse.files import read_json
from rediffuse.provenance.beliefs import memory_of_dvc
from rediffuse.provenance.digests import out_md5
from rediffuse.provenance.pipeline import stage_files
from rediffuse.verify.comparison import Making
from rediffuse.verify.sides import in_order
from rediffuse.workspace import Workspace

# What belongs to the processes and stores of this checkout, not to those of the copy.
_FOREIGN = ("DVC_", "MLFLOW_", "GIT_", "PYTHONPATH")
_GRACE = 5.0  # seconds for what was started here to leave


def rerun(
    workspace: Workspace, folder: Path, made: Mapping[str, Making], *, first: str | None, say: Callable[[str], None]
) -> tuple[Workspace, list[str]]:
    """Copy the tree to `folder` and make everything there, untracked and without DVC's caches.

    Args:
        workspace: the clone; its tracked and untracked files are copied, not those that git ignores.
        folder: an empty one.
        made: what dvc.lock says of each stage.
        first: make only this stage and those that read from it; what they read of others is copied.
        say: is told what happens, a line at a time.

    Returns:
        The copy, and the stages of `made` that were made again, each behind those it reads from.

    Raises:
        UserError: there is no such stage, what a stage reads is lost, or the copy's `dvc repro` fails.
    """
    if first is not None and first not in made:
        raise UserError(f"--stage: dvc.lock has no stage {first}; there are {', '.join(in_order(workspace, made))}")
    again = set(made) if first is None else _reached(workspace, first)
    copy = Workspace.at(folder / "copy")
    say(f"copying the tree to {copy.root}")
    _copy_tree(workspace, copy, leave=[path for name in made for path in made[name].outs])
    kept = [name for name in made if name not in again]
    for name in kept:
        for path, md5 in made[name].outs.items():
            _copy_out(workspace, copy, path, md5)
    for path in sorted({path for name in again & made.keys() for path in made[name].deps}):
        _copy_dep(workspace, copy, path)
    if first is None:
        copy.lock.unlink(missing_ok=True)
    _turn_tracking_off(copy)

    environment = _environment(folder)
    _run(copy.root, environment, "git", "init", "--quiet")
    _run(copy.root, environment, "dvc", "config", "--local", "cache.dir", str(folder / "cache"))
    names = [name for name in in_order(workspace, made) if name in again]
    say(f"making {', '.join(names)}")
    _run(copy.root, environment, "dvc", "repro", *(["--force", "--downstream", first] if first else []))
    return copy, names


def _reached(workspace: Workspace, first: str) -> set[str]:
    """A stage and all that read from it, directly or not."""
    stages = stage_files(workspace)
    found, frontier = {first}, {first}
    while frontier:
        reached = {name for name in stages for other in frontier if stages[name].reads_from(stages[other])}
        frontier = reached - found
        found |= frontier
    return found


def _copy_tree(workspace: Workspace, copy: Workspace, leave: Iterable[str]) -> None:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=workspace.root, capture_output=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"{workspace.root} is no clone: git knows nothing of it") from None
    left = set(leave)
    for name in filter(None, os.fsdecode(listed).split("\0")):
        source = workspace.root / name
        if source.is_file() and not left & {name, *map(str, Path(name).parents)}:
            (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy.root / name)


def _copy_out(workspace: Workspace, copy: Workspace, path: str, md5: str) -> None:
    """Bring an out that is not made again: from the checkout, or from DVC's cache where the checkout has another."""
    source, target = workspace.root / path, copy.root / path
    if out_md5(source) == md5:
        _link(source, target)
        return
    blob_of = memory_of_dvc(workspace.root).blob
    if blob_of(md5).is_file():
        listed = read_json(blob_of(md5)) if md5.endswith(".dir") else [{"md5": md5, "relpath": ""}]
        for entry in listed:
            if (blob := blob_of(entry["md5"])).is_file():
                _link(blob, target / entry["relpath"])
    if out_md5(target) != md5:
        raise UserError(f"{path} is neither here nor in DVC's cache as dvc.lock lists it; run dvc pull or dvc repro")


def _copy_dep(workspace: Workspace, copy: Workspace, path: str) -> None:
    """Bring what a stage reads and git does not hold: the raw data, the weights of extractors."""
    source, target = workspace.root / path, copy.root / path
    if Path(path).is_absolute() or target.is_file() or not source.exists() or path in _outs(workspace):
        return
    if copy.root not in Path(os.path.normpath(target)).parents:
        raise UserError(f"{path} lies outside the clone, where a copy finds it only by an absolute path")
    _link(source, target)


def _outs(workspace: Workspace) -> set[str]:
    return {str(out) for stage in stage_files(workspace).values() for out in stage.outs}


def _link(source: Path, target: Path) -> None:
    """A copy of a file or folder, by hard links where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file, dirs_exist_ok=True)
    else:
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    if os.path.exists(target):  # noqa: PTH110 - git brought it
        return
    real = os.path.realpath(source)
    try:
        os.link(real, target)
    except OSError:
        shutil.copyfile(real, target)


def _turn_tracking_off(copy: Workspace) -> None:
    from dvc.utils.serialize import modify_yaml  # it leaves the numbers as they are written

    with modify_yaml(str(copy.params)) as params:
        params.setdefault("runtime", {})["tracking"] = False


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": path, "DVC_SITE_CACHE_DIR": str(folder / "site")}


def _run(root: Path, environment: dict[str, str], *command: str) -> None:
    """Run a command with its output on this terminal; where this process leaves, all that the command started ends."""
    process = subprocess.Popen(command, cwd=root, env=environment, process_group=0)
    try:
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code:
        raise UserError(f"{' '.join(command)} in {root} ended with {code}; what it said stands above")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process and all of its group to go, and end what is left after some seconds."""
    _signal(process, signal.SIGTERM)
    end = time.monotonic() + _GRACE
    while time.monotonic() < end and _signal(process, 0):
        process.poll()
        time.sleep(0.05)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to a process group; whether there is one."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True
