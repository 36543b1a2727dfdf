"""What an experiment left behind, read by its commit: metrics and parameters from git, arrays from DVC's cache."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rediffuse import yaml12
from rediffuse.compare import PREFIX
from rediffuse.compare.commands import git
from rediffuse.errors import UserError
from rediffuse.params import flatten


@dataclass(frozen=True)
class Samples:
    """Generated images.

    Args:
        images: uint8, N×C×H×W.
        labels: the class each was asked for, (N,); -1 for none.
        classes: names by label; empty where there are none.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Experiment:
    """A finished run of the pipeline.

    Args:
        root: the checkout.
        revision: the experiment's commit.
    """

    root: Path
    revision: str

    def metrics(self, stage: str) -> dict[str, Any]:
        """metrics/<stage>.json."""
        found: dict[str, Any] = json.loads(self._text(f"metrics/{stage}.json"))
        return found

    @cached_property
    def params(self) -> dict[str, Any]:
        """params.yaml by dotted names, without `runtime`, which decides no result."""
        flat = flatten(yaml12.parse(self._text("params.yaml"), "params.yaml"))
        return {key: value for key, value in flat.items() if not key.startswith("runtime.")}

    @cached_property
    def digests(self) -> dict[str, str]:
        """MD5 of each out, by its path, as dvc.lock has it."""
        stages = yaml12.parse(self._text("dvc.lock"), "dvc.lock")["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}

    def samples(self) -> Samples:
        """The images of the stage sample, out of DVC's cache."""
        from dvc.api import DVCFileSystem

        system = DVCFileSystem(str(self.root), rev=self.revision)
        # Not np.load: that opens archives too.
        images, labels = (
            np.lib.format.read_array(io.BytesIO(system.read_bytes(f"samples/{name}.npy")), allow_pickle=False)
            for name in ("images", "labels")
        )
        return Samples(images, labels, tuple(json.loads(system.read_bytes("data/clean/card.json"))["classes"]))

    def _text(self, path: str) -> str:
        return git(self.root, "show", f"{self.revision}:{path}").decode()


def find(root: Path, presets: Sequence[str]) -> dict[str, Experiment]:
    """The experiments of the presets, by preset; one that failed or never ran has no entry.

    They are those of one commit, so that the code is the same: HEAD, or its nearest ancestor that has any.
    """
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").decode()
    by_commit: dict[str, dict[str, Experiment]] = {}
    for line in listed.splitlines():
        name, revision = line.split()
        parts = name.split("/")  # refs/exps/<2 digits>/<38 digits>/<experiment>
        if len(parts) == 5 and parts[4].removeprefix(PREFIX) in presets and parts[4].startswith(PREFIX):
            found = by_commit.setdefault(parts[2] + parts[3], {})
            found[parts[4].removeprefix(PREFIX)] = Experiment(root, revision)
    for commit in git(root, "rev-list", "HEAD").decode().split():
        if commit in by_commit:
            return {preset: by_commit[commit][preset] for preset in presets if preset in by_commit[commit]}
    return {}


def require_alike(experiments: Mapping[str, Experiment]) -> None:
    """Refuse a comparison of what differs in more than its preset.

    Raises:
        UserError: two experiments differ in another parameter.
    """
    first, *others = experiments
    for other in others:
        mine, theirs = experiments[first].params, experiments[other].params
        differing = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
        differing = [key for key in differing if key != "diffusion.preset"]
        if differing:
            key = differing[0]
            raise UserError(
                f"{PREFIX}{first} and {PREFIX}{other} differ in {key} ({mine.get(key)} and {theirs.get(key)}); "
                "run them again together"
            )
