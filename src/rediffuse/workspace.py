"""Every path the pipeline reads or writes, under one root."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folders of one pipeline: a checkout, one of DVC's temporary ones, or a test's `tmp_path`.

    Args:
        root: the folder that holds params.yaml and dvc.yaml; what DVC tracks lies below it.
        home: the folder that outlives this checkout: the MLflow store and unfinished training state lie there.
    """

    root: Path
    home: Path

    @classmethod
    def at(cls, root: Path) -> "Workspace":
        """A workspace that is its own home."""
        return cls(root=root, home=root)

    @classmethod
    def here(cls) -> "Workspace":
        """The workspace of the running stage: DVC starts it in the root and names the lasting checkout in DVC_ROOT."""
        root = Path.cwd()
        return cls(root=root, home=Path(os.environ.get("DVC_ROOT", root)))

    # What the user writes.
    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def pipeline(self) -> Path:
        return self.root / "dvc.yaml"

    @property
    def lock(self) -> Path:
        return self.root / "dvc.lock"

    # What the data stages make.
    @property
    def checked(self) -> Path:
        return self.root / "data" / "checked.json"

    @property
    def prepared(self) -> Path:
        return self.root / "data" / "prepared"

    @property
    def clean(self) -> Path:
        return self.root / "data" / "clean"

    @property
    def examples(self) -> Path:
        return self.clean / "examples.npy"

    @property
    def manifest(self) -> Path:
        return self.clean / "manifest.parquet"

    @property
    def rejected(self) -> Path:
        return self.clean / "rejected.parquet"

    @property
    def quarantined(self) -> Path:
        return self.clean / "quarantined.parquet"

    @property
    def card(self) -> Path:
        return self.clean / "card.json"

    @property
    def split(self) -> Path:
        return self.root / "data" / "split" / "split.parquet"

    # What is learned.
    @property
    def reference(self) -> Path:
        return self.root / "data" / "reference"

    @property
    def denoiser(self) -> Path:
        return self.root / "models" / "denoiser.safetensors"

    @property
    def raw(self) -> Path:
        """The weights at the end of the training, not averaged."""
        return self.root / "models" / "raw.safetensors"

    @property
    def candidate(self) -> Path:
        """What MLflow's registry is told of the model."""
        return self.root / "models" / "candidate.json"

    @property
    def snapshots(self) -> Path:
        return self.root / "models" / "snapshots"

    # What is made of it.
    @property
    def sampled_images(self) -> Path:
        return self.root / "samples" / "images.npy"

    @property
    def sampled_labels(self) -> Path:
        return self.root / "samples" / "labels.npy"

    @property
    def grid(self) -> Path:
        return self.root / "samples" / "grid.png"

    @property
    def raw_grid(self) -> Path:
        return self.root / "samples" / "grid_raw.png"

    @property
    def film(self) -> Path:
        return self.root / "samples" / "film.png"

    @property
    def report(self) -> Path:
        return self.root / "reports" / "report.html"

    @property
    def figures(self) -> Path:
        return self.root / "reports" / "figures"

    @property
    def model_card(self) -> Path:
        return self.root / "reports" / "model_card.md"

    @property
    def data_report(self) -> Path:
        return self.root / "reports" / "data.html"

    @property
    def data_pictures(self) -> Path:
        return self.root / "reports" / "data"

    def metrics(self, stage: str) -> Path:
        """The metrics file of a stage."""
        return self.root / "metrics" / f"{stage}.json"

    def plot(self, name: str) -> Path:
        """A table that `dvc plots` draws, as CSV."""
        return self.root / "plots" / f"{name}.csv"

    # What outlives the checkout.
    @property
    def state(self) -> Path:
        """Locks and unfinished training: no out of DVC's, and the same folder wherever DVC starts a stage."""
        return self.home / ".pipeline"

    @property
    def journal(self) -> Path:
        """What stages told of themselves and MLflow has not been told yet."""
        return self.state / "journal"

    @property
    def tracking_database(self) -> Path:
        return self.home / "mlflow.db"

    @property
    def tracking_artifacts(self) -> Path:
        return self.home / "mlartifacts"
