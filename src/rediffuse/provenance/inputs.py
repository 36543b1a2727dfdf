"""What a stage reads is what dvc.lock says that the stage before it wrote.

DVC trusts a read-only file in its cache, and a file in the checkout whose size, inode and time it remembers: it links
or copies damaged bytes in silence, and lists them under the MD5 that they no longer have.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rediffuse.errors import UserError
from rediffuse.provenance.digests import file_md5, folder_md5s, out_md5
from rediffuse.provenance.pipeline import locked_outs, stage_files
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


def check_inputs(workspace: Workspace, stage: str) -> None:
    """Read every out of another stage that this stage depends on, where DVC runs it, and compare MD5s.

    Before DVC starts a stage, it has written what it believes of the stages before it to dvc.lock. Started by hand, a
    stage may rightly find newer files than dvc.lock lists, and nothing is compared. Nor is a file refused that DVC
    itself sees to be another than dvc.lock lists: `dvc repro --single-item` is asked to take what is there.

    Raises:
        UserError: the bytes of a file are not those that DVC takes it for.
    """
    if os.environ.get("DVC_STAGE", "").rpartition(":")[2] != stage:
        return
    for path, maker, md5 in _locked_inputs(workspace, stage):
        if out_md5(path) != md5:
            found = _damaged(workspace, path)
            if found is not None:
                raise UserError(_message(workspace, found, maker))


def _locked_inputs(workspace: Workspace, stage: str) -> Iterator[tuple[Path, str, str]]:
    """Each out of another stage that this one depends on: its path, its stage, and its MD5 in dvc.lock."""
    stages = stage_files(workspace)
    if stage not in stages:
        return
    deps = stages[stage].deps
    locked = locked_outs(workspace, list(stages))
    for maker, written in stages.items():
        for out in written.outs:
            read = any(dep.is_relative_to(out) or out.is_relative_to(dep) for dep in deps)
            if maker != stage and read and str(out) in locked:
                yield workspace.root / out, maker, locked[str(out)]


def _damaged(workspace: Workspace, path: Path) -> Damaged | None:
    """The first file of an out whose MD5 is not the one that DVC remembers of it; None where DVC knows them all."""
    if path.is_dir():
        actual = {path / name: md5 for name, md5 in folder_md5s(path).items()}
    elif path.is_file():
        actual = {path: file_md5(path)}
    else:
        return None  # The stage says what it misses.
    remembered, blob_of = _memory_of_dvc(workspace.root)
    for file, md5 in actual.items():
        believed = remembered(file)
        if believed is not None and believed != md5:
            blob = blob_of(believed)
            return Damaged(file, blob if blob.is_file() and file_md5(blob) != believed else None)
    return None


def _memory_of_dvc(root: Path) -> tuple[Callable[[Path], str | None], Callable[[str], Path]]:
    """Two questions to DVC: the MD5 it remembers of an unchanged file, and where its cache keeps an MD5."""
    # A second's import, for what hardly ever happens.
    from dvc.fs import localfs
    from dvc.repo import Repo

    repo: Any = Repo(str(root))

    def remembered(path: Path) -> str | None:
        _, found = repo.state.get(str(path.absolute()), localfs)
        return None if found is None else str(found.value)

    return remembered, lambda md5: Path(repo.cache.local.oid_to_path(md5))


def _message(workspace: Workspace, damaged: Damaged, maker: str) -> str:
    path = damaged.path.relative_to(workspace.root)
    if damaged.blob is None:
        where, broken = "its bytes are damaged", f"'{path}'"
    else:
        where, broken = "DVC's cache holds damaged bytes", f"'{path}' '{_short(damaged.blob, workspace.root)}'"
    return (
        f"{path} is not what dvc.lock lists for stage {maker}: {where}; delete them (rm -f {broken}), and dvc repro "
        "makes the file again (or dvc pull fetches it from a remote)"
    )


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
