"""Models on the disk: a package, and a weights file of a checkout."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rediffuse.errors import UserError
from rediffuse.params import load_params
from rediffuse.serving.models.edition import PARTS, Edition, Listing
from rediffuse.serving.package import CARD, SETTINGS, WEIGHTS, why_labelled, write_parts
from rediffuse.workspace import Workspace

Stamps = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class Packed:
    """The files of a folder as they stood at a moment.

    Args:
        files: PARTS and CARD, as far as there are such.
        stamps: of each: by them a later moment differs.
    """

    folder: Path
    files: tuple[Path, ...]
    stamps: Stamps
    version: None = None

    @property
    def name(self) -> str:
        """See `Edition`."""
        return self.folder.name

    def __str__(self) -> str:
        return str(self.folder)

    def fetch(self, folder: Path) -> None:
        """See `Edition`."""
        for path in self.files:
            if path.exists():
                shutil.copyfile(path, folder / path.name)


@dataclass(frozen=True)
class PackageFolder:
    """A folder of `package.write_package` or of `package.write_parts`.

    Args:
        folder: absolute.
    """

    folder: Path

    def newest(self) -> Edition:
        """See `Source`."""
        inside = self.folder / "artifacts"
        parts = inside if inside.is_dir() else self.folder
        if not (parts / SETTINGS).exists() or not (parts / WEIGHTS).exists():
            raise UserError(
                f"{self.folder} is no package of rediffuse's: {parts} holds no {SETTINGS} with a {WEIGHTS}; "
                "a folder of package.write_package or a .safetensors file is allowed"
            )
        files = (*(parts / name for name in PARTS), self.folder / CARD)
        return Packed(self.folder, files, tuple(map(_stamp, files)))

    def listed(self) -> Sequence[Listing]:
        """See `Source`."""
        return ()

    def at(self, listing: Listing) -> Edition:
        """See `Source`."""
        raise KeyError(listing.version)


@dataclass(frozen=True)
class Trained:
    """A weights file of a checkout as it and params.yaml stood at a moment."""

    path: Path
    stamps: Stamps
    version: None = None

    @property
    def name(self) -> str:
        """See `Edition`."""
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)

    def fetch(self, folder: Path) -> None:
        """See `Edition`."""
        workspace = _checkout(self.path)
        params = load_params(workspace.params)
        own = self.path == workspace.denoiser
        # Another file than the stage's is sampled as it is.
        sample = params.sample if own else params.sample.model_copy(update={"ema_length": None})
        unguided = params.sample.why_not_guided(label_drop=params.train.label_drop, snapshots=params.train.snapshots)
        trained = _Trained(workspace.root, workspace.home, self.path)
        needs_label = why_labelled(params.train.label_drop)
        write_parts(folder, trained, sample, params.runtime, params.prompts, unguided, needs_label)
        if own and workspace.model_card.exists():
            shutil.copyfile(workspace.model_card, folder / CARD)


@dataclass(frozen=True)
class WeightsFile:
    """A .safetensors file in the folder models of a checkout, whose params.yaml says how it is sampled.

    Args:
        path: absolute.
    """

    path: Path

    def newest(self) -> Edition:
        """See `Source`."""
        params = _checkout(self.path).params
        for path in (self.path, params):
            if not path.is_file():
                told = "which says how the weights are sampled, " if path == params else ""
                raise UserError(f"{path}, {told}is not there" if told else f"{path} is not there")
        return Trained(self.path, (_stamp(self.path), _stamp(params)))

    def listed(self) -> Sequence[Listing]:
        """See `Source`."""
        return ()

    def at(self, listing: Listing) -> Edition:
        """See `Source`."""
        raise KeyError(listing.version)


@dataclass(frozen=True)
class _Trained(Workspace):
    """A checkout as if these weights were what its training made; no others need be there."""

    weights: Path

    @property
    def denoiser(self) -> Path:
        """See `Workspace`."""
        return self.weights


def _checkout(weights: Path) -> Workspace:
    return Workspace.at(weights.parent.parent)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written to; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
