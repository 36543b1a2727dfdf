"""What makes two pipeline runs the same one: parameters, DAG and source, never a name or a time.

An experiment that was killed and is tried again under another name has the same key, and so goes on in its run.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from rediffuse.params import Params
from rediffuse.workspace import Workspace


def content_key(params: Params, workspace: Workspace) -> str:
    """Hex SHA-256 over the tracked parameters, dvc.yaml and every .py file of src/rediffuse and stages/ but tracking's.

    Neither `runtime` nor rediffuse/tracking/ decides a result, so neither is part of the key.
    """
    digest = hashlib.sha256()
    for name, content in _parts(params, workspace):
        # Lengths keep the parts apart: moving a line from one file to the next is a change.
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _parts(params: Params, workspace: Workspace) -> Iterator[tuple[str, bytes]]:
    yield "params", json.dumps(params.tracked(), sort_keys=True).encode()
    yield "dvc.yaml", workspace.pipeline.read_bytes() if workspace.pipeline.exists() else b""
    for path in _sources(workspace.root):
        yield path.relative_to(workspace.root).as_posix(), path.read_bytes()


def _sources(root: Path) -> list[Path]:
    package = root / "src" / "rediffuse"
    found = [*package.rglob("*.py"), *(root / "stages").rglob("*.py")]
    return sorted(path for path in found if not path.is_relative_to(package / "tracking"))
