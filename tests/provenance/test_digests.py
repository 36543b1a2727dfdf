"""A file's MD5 is asked for by several, and read once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from rediffuse import files
from rediffuse.provenance.made import write_record
from rediffuse.tracking import mirror
from rediffuse.tracking.run import TrackedRun
from rediffuse.workspace import Workspace


class Deaf:
    """A run that keeps nothing."""

    def tell(self, record: object) -> None: ...
    def log_curve(self, rows: object) -> None: ...
    def log_file(self, folder: str, name: str, content: object, **_: object) -> None: ...


def test_no_file_is_read_twice_for_the_record_and_the_run(
    workspace: Workspace, written: Callable[[Workspace], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    md5 = files.md5

    def counted(path: Path) -> str:
        read[path.name] += 1
        return md5(path)

    monkeypatch.setattr(files, "md5", counted)
    written(workspace)
    for stage in ("split", "train", "evaluate", "register"):
        write_record(workspace, stage)
        mirror.tell_outputs_of(cast(TrackedRun, Deaf()), workspace, stage, with_upstream=stage == "register")
    assert read["split.parquet"] == read["denoiser.safetensors"] == 1
    assert set(read.values()) == {1}
