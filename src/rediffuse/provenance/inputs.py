"""What a stage reads is what dvc.lock says that the stage before it wrote, or what `dvc add` found.

DVC trusts a read-only file in its cache, and a file in the checkout whose size, inode and time it remembers: it links
or copies damaged bytes in silence, and lists them under the MD5 that they no longer have.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rediffuse.errors import UserError
from rediffuse.provenance.beliefs import memory_of_dvc
from rediffuse.provenance.digests import file_md5, folder_md5s, out_md5
from rediffuse.provenance.pipeline import StageFiles, load_dvc_file, locked_outs, stage_files
from rediffuse.workspace import Workspace


@dataclass(frozen=True)
class Damaged:
    """A file whose bytes are not those that DVC takes it for.

    Args:
        path: the file in the checkout.
        blob: DVC's own copy of it, where that is damaged as well.
    """

    path: Path
    blob: Path | None


@dataclass(frozen=True)
class Input:
    """What a stage reads and DVC keeps.

    Args:
        path: in the checkout, a file or a folder.
        md5: as DVC lists it.
        lister: who lists it, "dvc.lock lists for stage clean" or "data/raw.dvc lists".
        remedy: what brings the file back once the damaged bytes are gone.
    """

    path: Path
    md5: str
    lister: str
    remedy: str


def check_inputs(workspace: Workspace, stage: str) -> None:
    """Read every out of another stage, and all data under `dvc add`, that this stage depends on; compare MD5s.

    Before DVC starts a stage, it has written what it believes of the stages before it to dvc.lock. Started by hand, a
    stage may rightly find newer files than dvc.lock lists, and nothing is compared. Nor is a file refused that DVC
    itself sees to be another than it lists: `dvc repro --single-item` is asked to take what is there.

    Raises:
        UserError: the bytes of a file are not those that DVC takes it for.
    """
    if os.environ.get("DVC_STAGE", "").rpartition(":")[2] != stage:
        return
    stages = stage_files(workspace)
    if stage not in stages:
        return
    for each in [*_made_inputs(workspace, stage, stages), *_added_inputs(workspace, stages[stage])]:
        if out_md5(each.path) != each.md5:
            found = _damaged(workspace, each.path)
            if found is not None:
                raise UserError(_message(workspace, found, each))


def _made_inputs(workspace: Workspace, stage: str, stages: dict[str, StageFiles]) -> Iterator[Input]:
    """Each out of another stage that this one depends on."""
    locked = locked_outs(workspace, list(stages))
    for maker, written in stages.items():
        for out in written.outs:
            read = any(dep.is_relative_to(out) or out.is_relative_to(dep) for dep in stages[stage].deps)
            if maker != stage and read and str(out) in locked:
                yield Input(
                    path=workspace.root / out,
                    md5=locked[str(out)],
                    lister=f"dvc.lock lists for stage {maker}",
                    remedy="dvc repro makes the file again (or dvc pull fetches it from a remote)",
                )


def _added_inputs(workspace: Workspace, files: StageFiles) -> Iterator[Input]:
    """Each out of a `.dvc` file that stands beside a dependency, or beside a folder that one lies in."""
    beside = {path.with_name(f"{path.name}.dvc") for dep in files.deps for path in (dep, *dep.parents) if path.name}
    for listing in sorted(workspace.root / path for path in beside):
        if not listing.is_file():
            continue
        content = load_dvc_file(listing)
        folder = listing.parent / str(content.get("wdir", "."))
        for out in content.get("outs") or ():
            if "md5" in out and "path" in out:
                yield Input(
                    path=Path(os.path.normpath(folder / out["path"])),
                    md5=str(out["md5"]),
                    lister=f"{_short(listing, workspace.root)} lists",
                    remedy="dvc pull fetches the file from a remote; without one, copy it from where the data came",
                )


def _damaged(workspace: Workspace, path: Path) -> Damaged | None:
    """The first file of an out whose MD5 is not the one that DVC remembers of it; None where DVC knows them all."""
    if path.is_dir():
        actual = {path / name: md5 for name, md5 in folder_md5s(path).items()}
    elif path.is_file():
        actual = {path: file_md5(path)}
    else:
        return None  # The stage says what it misses.
    memory = memory_of_dvc(workspace.root)
    for file, md5 in actual.items():
        believed = memory.believed(file)
        if believed is not None and believed != md5:
            blob = memory.blob(believed)
            return Damaged(file, blob if blob.is_file() and file_md5(blob) != believed else None)
    return None


def _message(workspace: Workspace, damaged: Damaged, read: Input) -> str:
    path = _short(damaged.path, workspace.root)
    if damaged.blob is None:
        where, broken = "its bytes are damaged", f"'{path}'"
    else:
        where, broken = "DVC's cache holds damaged bytes", f"'{path}' '{_short(damaged.blob, workspace.root)}'"
    return f"{path} is not what {read.lister}: {where}; delete them (rm -f {broken}), and {read.remedy}"


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
