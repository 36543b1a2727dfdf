"""The averaged weights that a training kept on its way, and what is made of them: earlier models, other averages.

A folder of models, each a file as `model.save_model` writes it, with index.json beside them: a list of {file, step,
length}, where length is that of a power function's profile, or null for an average of constant decay.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rediffuse import files, power_ema
from rediffuse.errors import UserError
from rediffuse.model import Model, load_model, read_weights
from rediffuse.params import SampleParams, TrainParams

INDEX = "index.json"


@dataclass(frozen=True, order=True)
class Snapshot:
    """One of them.

    Args:
        step: after which it was taken, from 1.
        length: of its profile, as a share of `step`; None for an average of constant decay.
    """

    step: int
    length: float | None

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"step-{self.step:08d}{'' if self.length is None else f'-{self.length:.3f}'}.safetensors"


def planned(train: TrainParams) -> tuple[Snapshot, ...]:
    """The snapshots of a training, in order, evenly spaced; the last is taken at its end."""
    lengths = power_ema.LENGTHS if train.ema == "power" else (None,)
    steps = [round(part * train.steps / train.snapshots) for part in range(1, train.snapshots + 1)]
    return tuple(Snapshot(step, length) for step in steps for length in lengths)


def check_length(key: str, length: float, snapshots: Iterable[Snapshot]) -> list[float]:
    """What to multiply each of the snapshots with for the average of that length after the last of them.

    Args:
        key: of params.yaml, that asks for the length.

    Raises:
        UserError: they are averages of constant decay, or none, or too few.
    """
    profiles = [power_ema.Profile(each.step, each.length) for each in snapshots if each.length is not None]
    if not profiles:
        raise UserError(
            f"params.yaml: {key} is {length}, but the training kept no snapshots of train.ema power to compute it from"
        )
    try:
        return power_ema.coefficients(profiles, power_ema.Profile(profiles[-1].step, length))
    except ValueError as error:
        raise UserError(f"params.yaml: {key} is {length}, {error}") from None


def reconstruct(folder: Path, length: float, device: torch.device, *, key: str) -> Model:
    """The model averaged with another length, after the last step.

    Sums are in float64; what is no float is the last snapshot's.

    Args:
        folder: of snapshots.
        length: σ_rel, below 0.28.
        key: of params.yaml, that asks for it.

    Raises:
        UserError: the snapshots are not there, or the length can't be made of them.
    """
    snapshots = read_index(folder)
    parts = check_length(key, length, snapshots)
    last = folder / snapshots[-1].file
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in read_weights(last)[1].items()}
    for snapshot, part in zip(snapshots, parts, strict=True):
        _, weights = read_weights(folder / snapshot.file)
        for name, value in weights.items():
            total[name] = total[name] + part * value.double() if value.is_floating_point() else value
    model = load_model(last, device)
    model.denoiser.network.load_state_dict(total)
    return model


def earlier(folder: Path, share: float, device: torch.device) -> Model:
    """The snapshot nearest to a share of the training; of two lengths the longer, as Karras et al. (2024b) guide with.

    Args:
        folder: of snapshots.
        share: 0 to 1; between two that are as near, the earlier.

    Raises:
        UserError: the training kept none.
    """
    snapshots = read_index(folder)
    if not snapshots:
        raise UserError(
            f"params.yaml: sample.guidance_reference is snapshot, but {folder.name}/{INDEX} lists none; "
            "train with train.snapshots above 0, or use label"
        )
    wanted = share * snapshots[-1].step
    chosen = min(snapshots, key=lambda each: (abs(each.step - wanted), each.step, -(each.length or 0)))
    return load_model(folder / chosen.file, device)


def asked_average(folder: Path, sample: SampleParams, device: torch.device) -> Model | None:
    """The model averaged with `sample.ema_length`; None where that is null, and the trained average is meant.

    Raises:
        UserError: the snapshots are not there, or the length can't be made of them.
    """
    if sample.ema_length is None:
        return None
    return reconstruct(folder, sample.ema_length, device, key="sample.ema_length")


def asked_reference(folder: Path, sample: SampleParams, device: torch.device) -> Model | None:
    """The earlier model that the section `sample` guides away from; None where it guides by labels, or not at all.

    Raises:
        UserError: the training kept no snapshots.
    """
    if sample.guidance == 1 or sample.guidance_reference != "snapshot":
        return None
    return earlier(folder, sample.guidance_snapshot, device)


def publish(kept: Path, folder: Path, snapshots: Sequence[Snapshot]) -> None:
    """Make `folder` hold these snapshots, copied from the folder `kept`, their index, and nothing else."""
    for snapshot in snapshots:
        with files.replacing(folder / snapshot.file) as temporary:
            shutil.copyfile(kept / snapshot.file, temporary)
    listed = [{"file": each.file, "step": each.step, "length": each.length} for each in snapshots]
    files.write_json(folder / INDEX, listed)
    for path in folder.iterdir():
        if path.name not in {INDEX, *(each.file for each in snapshots)}:
            path.unlink()


def read_index(folder: Path) -> tuple[Snapshot, ...]:
    """The snapshots in a folder, by step and length.

    Raises:
        UserError: there is no index.
    """
    try:
        listed = files.read_json(folder / INDEX)
    except FileNotFoundError:
        raise UserError(f"{folder / INDEX} is missing; `dvc repro train` makes it") from None
    return tuple(Snapshot(entry["step"], entry["length"]) for entry in listed)
