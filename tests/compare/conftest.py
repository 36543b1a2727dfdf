"""A git repository with experiments as DVC leaves them: commits under refs/exps that no branch has."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

PARAMS = "seed: 0\ndiffusion:\n  preset: {preset}\ntrain:\n  steps: {steps}\nruntime:\n  threads: {threads}\n"


def evaluated(fd: float, **more: object) -> dict[str, object]:
    """A metrics/evaluate.json."""
    names = {"fd": fd, "kid": 0.5, "precision": 0.75, "recall": 0.5, "f1": 0.6}
    return {
        "fidelity": names | {f"{name}_floor": value / 2 for name, value in names.items()},
        "utility": {"cas_accuracy": 0.8, "gan_test_accuracy": 0.9, "real_accuracy": 0.95},
        **more,
    }


@dataclass(frozen=True)
class GitRepository:
    root: Path

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        done = subprocess.run(["git", *identity, *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """A commit with these files, `__` for a slash and `_json` or `_yaml` for the ending; its hash."""
        for name, text in files.items():
            stem, _, ending = name.replace("__", "/").rpartition("_")
            path = self.root / f"{stem}.{ending}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", "test", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def experiment(self, name: str, *, fd: float = 1.0, preset: str = "edm", steps: int = 40, threads: int = 1) -> None:
        """An experiment of the present commit, which stays the branch's."""
        baseline = self.git("rev-parse", "HEAD")
        made = self.commit(
            metrics__evaluate_json=json.dumps(evaluated(fd)),
            metrics__sample_json=json.dumps({"evaluations": 35}),
            params_yaml=PARAMS.format(preset=preset, steps=steps, threads=threads),
            dvc_lock="stages:\n  train:\n    outs:\n    - path: models/a\n      md5: '123'\n",
        )
        self.git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", made)
        self.git("reset", "-q", "--hard", baseline)


@pytest.fixture
def make_git(tmp_path: Path) -> Callable[[], GitRepository]:
    def make() -> GitRepository:
        repository = GitRepository(tmp_path)
        repository.git("init", "-q", "-b", "main")
        repository.commit(note_txt="first")
        return repository

    return make
