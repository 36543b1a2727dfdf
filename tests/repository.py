"""A repository of its own with the real DAG and tiny parameters."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rediffuse.workspace import Workspace

CHECKOUT = Path(__file__).parents[1]

# What the pipeline made of the default parameters is no part of a new repository.
MADE = ("dvc.lock", "metrics/", "plots/", "samples/")

TINY = {
    "  steps: 2000 ": "  steps: 40 ",
    "  batch_size: 128             # images a step; a": "  batch_size: 32             # images a step; a",
    "  microbatch: 128 ": "  microbatch: 16 ",
    "  ema_start: 300 ": "  ema_start: 10 ",
    "  log_every: 20 ": "  log_every: 10 ",
    "  validate_every: 400 ": "  validate_every: 20 ",
    "  count: 1440 ": "  count: 60 ",
    "  batch_size: 96 ": "  batch_size: 32 ",
    "  width: 32 ": "  width: 8 ",
    "  steps: 600 ": "  steps: 30 ",
    "  repeats: 3 ": "  repeats: 2 ",
    "  real_counts: [100, all] ": "  real_counts: [100] ",
    "  tolerance: 3.0e-4 ": "  tolerance: 1.0e-1 ",
    "  images: 500 ": "  images: 20 ",
    "    membership_images: 500 ": "    membership_images: 20 ",
    "    membership_levels: 8 ": "    membership_levels: 2 ",
    "  checkpoint_every: 400 ": "  checkpoint_every: 10 ",
    "  preview_every: 800 ": "  preview_every: 20 ",
    "  threads: 2 ": "  threads: 1 ",
    "    width: null ": "    width: 16 ",
    "    head_channels: null ": "    head_channels: 16 ",
    "  kid_subsets: 50 ": "  kid_subsets: 10 ",
    "  noise_levels: 12 ": "  noise_levels: 4 ",
    # Two guidance scales, two steps of one sampler.
    "  count: 360 ": "  count: 20 ",
    "  guidance: [1.0, 1.5, 3.0] ": "  guidance: [1.0, 2.0] ",
    "    ddim: [5, 10, 20] ": "    ddim: [2, 4] ",
    "    dpmpp_2m: [5, 10, 20] ": "    dpmpp_2m: [] ",
    "    heun: [3, 5, 9] ": "    heun: [] ",
}


@dataclass(frozen=True)
class Repository:
    """A git repository with a DVC pipeline."""

    path: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace.at(self.path)

    def environment(self, **changes: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_", "GIT_"))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@localhost",
            **changes,
        }

    def run(self, *command: str, code: int = 0, **environment: str) -> str:
        """Run a command here; its output, stdout and stderr together."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def edit(self, **changes: str) -> None:
        """Replace text of params.yaml, each exactly once."""
        edit(self.workspace.params, changes)

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "test")


def edit(path: Path, changes: dict[str, str]) -> None:
    text = path.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        text = text.replace(old, new)
    path.write_text(text)


def new_repository(path: Path) -> Repository:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if not name.startswith(MADE) and (CHECKOUT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, path / name)
    edit(path / "params.yaml", TINY)
    repository = Repository(path)
    repository.run("git", "init", "-q", "-b", "main")
    repository.commit()
    return repository
