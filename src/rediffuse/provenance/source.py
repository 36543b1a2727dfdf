"""Which code is running: by its content, and by its commit."""

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

import rediffuse


def source_digest(stage: Path, parts: Iterable[str]) -> str:
    """Hex SHA-256 of a stage's file and of files and folders of this package, the running one, by name and content.

    Args:
        stage: the stage's own file.
        parts: paths below the package, "diffusion" or "seeds.py".
    """
    root = Path(rediffuse.__file__).parent
    digest = hashlib.sha256(stage.read_bytes())
    for part in sorted(parts):
        path = root / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def git_commit(root: Path) -> str | None:
    """The commit that a checkout stands on, or None outside git; for an experiment it is the baseline's."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
