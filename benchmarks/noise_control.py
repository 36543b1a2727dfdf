"""What eta, churn and temperature do to the same seeds, as a picture: `python -m benchmarks.noise_control`.

Reads models/denoiser.safetensors and params.yaml, writes docs/pictures/noise-control.png.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rediffuse import files, runtime
from rediffuse.model import load_model
from rediffuse.params import load_params
from rediffuse.pictures import sheet
from rediffuse.sampling import Sampling, class_mix
from rediffuse.workspace import Workspace

SHOWN = 10
SETTINGS: dict[str, dict[str, Any]] = {
    "ddim, eta 0": {"sampler": "ddim", "steps": 50},
    "ddim, eta 0.3": {"sampler": "ddim", "steps": 50, "eta": 0.3},
    "ddim, eta 1": {"sampler": "ddim", "steps": 50, "eta": 1.0},
    "heun": {"sampler": "heun", "steps": 50},
    "heun, churn 5": {"sampler": "heun", "steps": 50, "churn": 5.0},
    "heun, churn 20": {"sampler": "heun", "steps": 50, "churn": 20.0},
    "temperature 0.5": {"sampler": "heun", "steps": 50, "temperature": 0.5},
    "temperature 0.9": {"sampler": "heun", "steps": 50, "temperature": 0.9},
    "temperature 1.1": {"sampler": "heun", "steps": 50, "temperature": 1.1},
    "temperature 1.5": {"sampler": "heun", "steps": 50, "temperature": 1.5},
}


def main() -> None:
    """Draw the picture for the working folder's model."""
    workspace = Workspace.at(Path.cwd())
    params = load_params(workspace.params)
    device = runtime.start(params.runtime)
    model = load_model(workspace.denoiser, device)
    labels = class_mix(SHOWN, model.classes, None)
    rows: list[np.ndarray] = []
    for settings in SETTINGS.values():
        plain = {"grid": "karras", "eta": 0.0, "churn": 0.0, "temperature": 1.0, "batch_size": SHOWN}
        sampling = Sampling.of(model, params.sample.model_copy(update=plain | settings), device)
        rows.append(next(sampling.images(labels)))
    files.write_bytes(Path("docs/pictures/noise-control.png"), sheet(rows, list(SETTINGS)))


if __name__ == "__main__":
    main()
