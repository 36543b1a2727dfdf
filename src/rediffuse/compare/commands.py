"""git and DVC as commands of a folder, with this interpreter's environment first on the PATH."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rediffuse.errors import UserError


def dvc(root: Path, *arguments: str) -> str:
    """The standard output of `dvc ...` in a folder.

    Raises:
        UserError: it failed; the message is its first line of error.
    """
    return _answer(root, sys.executable, "-m", "dvc", *arguments).decode()


def git(root: Path, *arguments: str) -> bytes:
    """The standard output of `git ...` in a folder; raises as `dvc` does."""
    return _answer(root, "git", *arguments)


def _answer(root: Path, *command: str) -> bytes:
    # DVC starts its worker, and the worker the stages, by the names `dvc` and `python`.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Files, not pipes: DVC's worker inherits them, and a pipe would not end before it does.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = subprocess.run(command, cwd=root, env=os.environ | {"PATH": path}, stdout=out, stderr=err, check=False)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    if code.returncode:
        lines = [line for line in texts[1].decode().splitlines() if line.strip()]
        called = " ".join(command[2:] if command[0] == sys.executable else command)
        raise UserError(f"{called} ended with {code.returncode}: {lines[0] if lines else 'no message'}")
    return texts[0]
