"""What .pipeline keeps between runs: the states of unfinished trainings, and their removal.

python -m rediffuse.states
python -m rediffuse.states --clear --older-than 30
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rediffuse import files, state_folder
from rediffuse.errors import TryAgainError, UserError
from rediffuse.workspace import Workspace

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class UnfinishedTraining:
    """The state of one training.

    Args:
        path: its folder, named by the training's fingerprint.
        step: of the newest checkpoint; None before the first.
        bytes: of all its files.
        written: when the newest of them was, in seconds since 1970.
        parts: of its fingerprint; empty where the file can't be read.
        in_use: whether a process holds it now.
    """

    path: Path
    step: int | None
    bytes: int
    written: float
    parts: Mapping[str, Any]
    in_use: bool

    @classmethod
    def read(cls, path: Path) -> "UnfinishedTraining":
        """That in a folder, which a training may be changing meanwhile."""
        steps = [name.split("-")[1] for name in (each.name for each in path.glob("step-*-*.safetensors"))]
        sizes = list(_sizes(path))
        return cls(
            path=path,
            step=max((int(step) for step in steps if step.isdecimal()), default=None),
            bytes=sum(size for size, _ in sizes),
            written=max((written for _, written in sizes), default=path.stat().st_mtime),
            parts=_parts(path / state_folder.FINGERPRINT),
            in_use=state_folder.in_use(path),
        )

    @property
    def summary(self) -> str:
        """The parameters by which a person knows it."""
        model, train = (self.parts.get(part) or {} for part in ("model", "train"))
        named = {
            "": (model.get("network") or {}).get("name"),
            "preset": model.get("preset"),
            "lr": train.get("lr"),
            "steps": train.get("steps"),
            "batch": train.get("batch_size"),
            "seed": self.parts.get("seed"),
        }
        return ", ".join(f"{name} {value}".strip() for name, value in named.items() if value is not None) or "?"


def unfinished(state: Path) -> list[UnfinishedTraining]:
    """The unfinished trainings below a state folder, the one written last first."""
    folders = (state / "train").iterdir() if (state / "train").is_dir() else ()
    found = [UnfinishedTraining.read(path) for path in folders if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda training: -training.written)


def clear(state: Path, older_than: float = 0.0) -> tuple[list[UnfinishedTraining], list[UnfinishedTraining]]:
    """Remove the unfinished trainings that no process holds.

    Args:
        older_than: days since they were last written.

    Returns:
        the removed ones, and those that are in use.
    """
    removed, held = [], []
    for training in unfinished(state):
        if training.written > time.time() - older_than * _DAY:
            continue
        try:
            with state_folder.locked(training.path):
                state_folder.remove(training.path)
            removed.append(training)
        except TryAgainError:
            held.append(training)
    state_folder.sweep(state / "train")
    return removed, held


def table(trainings: list[UnfinishedTraining]) -> str:
    """One line a training."""
    lines = [f"{'training':14}{'step':>8}{'MiB':>10}  {'last written':18}{'':8}parameters"]
    for each in trainings:
        written = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.written))
        step = "-" if each.step is None else each.step
        lines.append(
            f"{each.path.name[:12]:14}{step:>8}{each.bytes / 2**20:>10.1f}  {written:18}"
            f"{'in use' if each.in_use else '':8}{each.summary}"
        )
    return "\n".join(lines)


def others(state: Path) -> dict[str, int]:
    """The bytes of all else that is kept there, by name."""
    if not state.is_dir():
        return {}
    kept = sorted(path for path in state.iterdir() if path.is_dir() and path.name != "train")
    return {path.name: sum(size for size, _ in _sizes(path)) for path in kept}


def _sizes(folder: Path) -> Iterator[tuple[int, float]]:
    """Bytes and time of writing of each file; one that goes meanwhile is left out."""
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                facts = path.stat()
                yield facts.st_size, facts.st_mtime
        except FileNotFoundError:
            continue


def _parts(path: Path) -> Mapping[str, Any]:
    try:
        parts = files.read_json(path)
    except (OSError, ValueError):
        return {}
    return parts if isinstance(parts, dict) else {}


def main() -> None:
    """List or clear the states of the working folder."""
    parser = argparse.ArgumentParser(
        description="The states of unfinished trainings that .pipeline keeps, and their removal."
    )
    parser.add_argument("--clear", action="store_true", help="remove those that no process holds")
    parser.add_argument("--older-than", type=float, default=0.0, metavar="DAYS", help="only those not written since")
    options = parser.parse_args()
    if options.older_than < 0:
        parser.error(f"--older-than is {options.older_than:g}; it is a number of days, 0 or more")
    state = Workspace.here().state
    try:
        if options.clear:
            removed, held = clear(state, options.older_than)
            for each in removed:
                sys.stdout.write(f"removed {each.path.name[:12]}, step {each.step}, {each.bytes / 2**20:.1f} MiB\n")
            for each in held:
                sys.stdout.write(f"in use  {each.path.name[:12]}\n")
    except (UserError, TryAgainError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    left = unfinished(state)
    sys.stdout.write(f"{table(left)}\n" if left else "no unfinished training\n")
    for name, size in others(state).items():
        sys.stdout.write(f"also kept: {name}, {size / 2**20:.1f} MiB\n")


if __name__ == "__main__":
    main()
