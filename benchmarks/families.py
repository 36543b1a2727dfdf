"""What each preset reaches on the data at hand, and how many network evaluations it takes to get there.

    python -m benchmarks.families --presets edm flow --device cpu --out benchmarks/results/families.json

Trains every preset with the network, steps and seed of params.yaml, scores it with its own sampler, and then with
deterministic samplers at several numbers of evaluations, all from the same initial noise. Needs the outs of the stages
up to `reference` (`dvc repro reference`), neither DVC nor MLflow.
"""

import itertools
import json
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import command
from rediffuse import runtime, yaml12
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.fidelity.protocol import score_fidelity
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.reference import Reference, read_reference
from rediffuse.evaluation.samples import Samples
from rediffuse.evaluation.scoring import RealImages, score
from rediffuse.evaluation.utility.real_trainings import read_real_trainings
from rediffuse.evaluation.utility.settings import UtilitySettings
from rediffuse.model import Model, build_model, describe
from rediffuse.params import Params, SampleParams
from rediffuse.presets import PRESETS, expand
from rediffuse.randomness import seeded_global
from rediffuse.sampling import Sampling, class_mix
from rediffuse.tables import rounded
from rediffuse.tracking import Untracked
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.fit import fit
from rediffuse.workspace import Workspace

SAMPLERS = ("ddim", "heun", "dpmpp_2m")
GRIDS = ("karras", "uniform_log_snr")


def params_of(preset: str, root: Path, changes: dict[str, Any]) -> Params:
    """params.yaml with that preset and those changes, {"train.steps": 100, ...}."""
    document = yaml12.load(root / "params.yaml")
    own_sampler = dict.fromkeys(("sample.sampler", "sample.grid", "sample.steps"))
    for name, value in ({"diffusion.preset": preset} | own_sampler | changes).items():
        section, key = name.split(".")
        document[section][key] = value
    return Params.model_validate(expand(document))


def trained(params: Params, workspace: Workspace, device: torch.device) -> Model:
    """The model of these parameters with its averaged weights."""
    card = Card.read(workspace.card)
    description = describe(params.model, params.diffusion, shape=card.shape, classes=card.classes, sigma_data=card.std)
    with seeded_global(params.seed, "train/weights"):
        model = build_model(description, device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointFolder(Path(folder))
        with checkpoints.locked():
            state, _ = fit(
                model,
                load_split(workspace, "train"),
                load_split(workspace, "val"),
                params=params.train,
                runtime=params.runtime,
                seed=params.seed,
                device=device,
                checkpoints=checkpoints,
                log=Untracked(),
                preview=lambda _: b"",
            )
    model.denoiser.load_state_dict(state.average.state_dict())
    model.denoiser.requires_grad_(False).eval()
    return model


def images_of(model: Model, params: SampleParams, device: torch.device) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Images, labels, network evaluations an image, and seconds."""
    labels = class_mix(params.count, model.classes, None)
    sampling = Sampling.of(model, params, device)
    start = time.perf_counter()
    images = np.concatenate(list(sampling.images(labels)))
    batches = -(-params.count // params.batch_size)
    evaluations = sampling.evaluations / (batches * params.batch_size)
    return images, labels, evaluations, time.perf_counter() - start


def own_scores(
    params: Params, workspace: Workspace, model: Model, reference: Reference, device: torch.device
) -> dict[str, Any]:
    """The pipeline's scores of the preset's own sampler."""
    images, labels, evaluations, seconds = images_of(model, params.sample, device)
    card = Card.read(workspace.card)
    train, val, test = (load_split(workspace, name) for name in ("train", "val", "test"))
    usefulness = UtilitySettings.of(params.reference, reference.classifier.shape, seed=params.seed, device=device)
    scores = score(
        Samples(images, labels),
        reference.extract(images),
        RealImages(train=train, val=val, test=test, classes=card.classes),
        reference,
        settings=settings_of(params),
        trainings=read_real_trainings(workspace.reference, train.labels, test.labels, usefulness)
        if card.classes
        else None,
        usefulness=usefulness,
    ).metrics
    utility = scores["utility"] or {}
    kept = {name: utility[name] for name in ("cas_accuracy", "gan_test_accuracy", "real_accuracy") if name in utility}
    return {**scores["fidelity"], **kept, "evaluations": evaluations, "seconds": seconds}


def settings_of(params: Params) -> FidelitySettings:
    """The protocol of the stage `evaluate`."""
    keys = {field.name for field in fields(FidelitySettings)} - {"seed"}
    return FidelitySettings(**params.evaluate.model_dump(include=keys), seed=params.seed)


def curve(
    params: Params, model: Model, reference: Reference, device: torch.device, evaluations: list[int]
) -> list[dict[str, Any]]:
    """FD of every deterministic sampler and grid at about so many evaluations."""
    rows = []
    for sampler, grid, wanted in itertools.product(SAMPLERS, GRIDS, evaluations):
        steps = (wanted + 1) // 2 if sampler == "heun" else wanted
        plain = {"eta": 0.0, "variance": "posterior", "corrector_steps": 0, "threshold": "none"}
        chosen = params.sample.model_copy(update=plain | {"sampler": sampler, "grid": grid, "steps": steps})
        images, _, used, seconds = images_of(model, chosen, device)
        real = reference.features[reference.main.name]
        fidelity = score_fidelity(real.train, real.test, reference.main.extract(images), settings_of(params)).scores
        row = {"sampler": sampler, "grid": grid, "wanted": wanted, "evaluations": used, "seconds": seconds}
        rows.append(row | {name: fidelity[name] for name in ("fd", "fd_low", "fd_high", "fd_full", "kid")})
    return rows


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.bare(__doc__)
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluations", type=int, nargs="*", default=[20, 250])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to params.yaml")
    options = parser.parse_args()

    root = Path.cwd()
    workspace = Workspace.at(root)
    changes = {name: json.loads(value) for name, value in (change.split("=") for change in options.set)}
    results: dict[str, Any] = {}
    for preset in options.presets:
        params = params_of(preset, root, changes)
        quiet = {"device": options.device, "threads": options.threads, "progress": False, "preview_every": 0}
        params = params.model_copy(update={"runtime": params.runtime.model_copy(update=quiet)})
        device = runtime.start(params.runtime)
        counts = {name: len(load_split(workspace, name)) for name in ("train", "val", "test")}
        extractors = ExtractorSettings.of(params.reference, seed=params.seed, root=root)
        reference = read_reference(workspace.reference, extractors, counts, device)
        start = time.perf_counter()
        model = trained(params, workspace, device)
        seconds = time.perf_counter() - start
        results[preset] = {
            "train_seconds": seconds,
            "own": own_scores(params, workspace, model, reference, device),
            "curve": curve(params, model, reference, device, options.evaluations),
        }
        own = results[preset]["own"]
        best = {
            n: min((r for r in results[preset]["curve"] if r["wanted"] == n), key=lambda r: r["fd"])
            for n in options.evaluations
        }
        sys.stdout.write(
            f"{preset:10} train {seconds:5.0f} s  FD {own['fd']:.3f} (floor {own['fd_floor']:.3f})  "
            f"CAS {own.get('cas_accuracy', float('nan')):.3f}  "
            f"GAN-test {own.get('gan_test_accuracy', float('nan')):.3f}  at {own['evaluations']:.0f} evaluations; "
            + ", ".join(f"{n}: {row['fd']:.3f} {row['sampler']} {row['grid']}" for n, row in best.items())
            + "\n"
        )
        sys.stdout.flush()
        command.write(options.out, {"environment": runtime.environment(device), "presets": rounded(results)})


if __name__ == "__main__":
    main()
