"""The command `make compare`."""

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rediffuse import files, yaml12
from rediffuse.compare import PREFIX
from rediffuse.compare.experiments import Experiment, find, require_alike
from rediffuse.compare.pages import inserted, page, picture
from rediffuse.compare.queue import run_queued
from rediffuse.compare.scores import Comparison, markdown, real_scores, rows, scores_of
from rediffuse.compare.timing import stage_seconds
from rediffuse.errors import UserError
from rediffuse.params import flatten
from rediffuse.params.evaluate import SweepStepsParams
from rediffuse.presets import PRESETS, PUBLISHED, SIZES
from rediffuse.workspace import Workspace

_PICTURE = "docs/pictures/families.png"
_DOCUMENTS = ("README.md", "docs/families.md")
_MADE = (
    "prepare.source",
    "seed",
    "model.name",
    "train.steps",
    "train.batch_size",
    "train.lr",
    "train.ema",
    "train.ema_decay",
    "sample.count",
    "sample.seed",
    "sample.guidance",
)


# What params.yaml chooses so that samples take few evaluations, whatever the preset.
_OWN_SAMPLER = ("sample.sampler", "sample.grid", "sample.steps")

# What a comparison does not show: curves of each preset's own model, and which of them is worth keeping.
_LEFT_OUT = (
    "sweep.guidance=[]",
    *(f"sweep.steps.{sampler}=[]" for sampler in SweepStepsParams.model_fields),
    "register.enabled=false",
)


def main(arguments: list[str] | None = None) -> None:
    """Run the presets and write the comparison; exit 1 where one of them failed, 2 after a user's mistake."""
    options = _parser().parse_args(arguments)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # an exit unwinds, and so empties the queue
    workspace = Workspace.at(Path.cwd())
    try:
        presets = _presets(options.presets)
        _tell_given(workspace, options.settings)
        if not options.collect_only:
            run_queued(
                workspace.root, {f"{PREFIX}{preset}": settings_of(preset, options.settings) for preset in presets}, _say
            )
        failed = collect(workspace, presets)
    except UserError as error:
        sys.stderr.write(f"compare: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    if failed:
        sys.stderr.write(
            f"compare: no result of {', '.join(failed)}; `dvc queue logs {PREFIX}{failed[0]}` may say why\n"
        )
        sys.exit(1)


def settings_of(preset: str, given: Sequence[str]) -> list[str]:
    """What `dvc exp run -S` gets, as key=value: the preset with its own sampler, no sweep and no registration.

    Args:
        given: on the command line; it stands last, and of two values of a key DVC takes the last.
    """
    return [f"diffusion.preset={preset}", *(f"{key}=null" for key in _OWN_SAMPLER), *_LEFT_OUT, *given]


def collect(workspace: Workspace, presets: list[str]) -> list[str]:
    """Write metrics/compare.json, the picture, the page, and the parts of documents; the presets without a result.

    Raises:
        UserError: there is no experiment at all, or they differ in more than the preset.
    """
    experiments = find(workspace.root, presets)
    if not experiments:
        raise UserError(f"there is no experiment {PREFIX}{presets[0]} or any other; `make compare` runs them")
    require_alike(experiments)
    comparison = _compared(workspace, presets, experiments)
    drawn = picture({preset: experiment.samples() for preset, experiment in experiments.items()})

    files.write_json(workspace.metrics("compare"), asdict(comparison))
    files.write_bytes(workspace.root / _PICTURE, drawn)
    files.write_bytes(workspace.root / "reports" / "compare.html", page(comparison, drawn).encode())
    for name in _DOCUMENTS:
        _insert(workspace.root / name, comparison)
    shown = [["", "FD", "KID"], *(row[:3] for row in rows(comparison))]
    widths = [max(len(cells[at]) for cells in shown) + 2 for at in range(3)]
    _say("")
    for cells in shown:
        _say(f"{cells[0]:{widths[0]}}{cells[1]:>{widths[1]}}{cells[2]:>{widths[2]}}")
    _say(f"\nwritten: metrics/compare.json, {_PICTURE}, reports/compare.html")
    return [preset for preset in presets if preset not in experiments]


def _compared(workspace: Workspace, presets: list[str], experiments: dict[str, Experiment]) -> Comparison:
    evaluated = {preset: experiment.metrics("evaluate") for preset, experiment in experiments.items()}
    first = next(iter(experiments))
    return Comparison(
        families={
            preset: scores_of(evaluated[preset], experiments[preset].metrics("sample"))
            if preset in experiments
            else None
            for preset in presets
        },
        real=real_scores(evaluated[first]),
        made=_made(experiments[first].params),
        seconds={preset: stage_seconds(workspace, each.digests) for preset, each in experiments.items()},
    )


def _made(params: Mapping[str, Any]) -> dict[str, Any]:
    """What of an experiment's parameters the page shows; of a network that is given by its size, what that says."""
    network, usual = f"model.{params['model.name']}.", SIZES.get(str(params.get("model.size")), {})
    return {
        key: usual.get(key) if value is None else value
        for key, value in params.items()
        if key in _MADE or key.startswith(network)
    }


def _insert(path: Path, comparison: Comparison) -> None:
    name = path.name
    if not path.exists():
        return
    address = "docs/pictures/families.png" if name == "README.md" else "pictures/families.png"
    content = f"{markdown(comparison)}\n\n![A row of samples a preset]({address})"
    changed = inserted(path.read_text(encoding="utf-8"), content, name)
    if changed is None:
        _say(f"{name} has no place for the table, and is left alone")
    else:
        files.write_bytes(path, changed.encode())


def _tell_given(workspace: Workspace, settings: list[str]) -> None:
    """Say which keys that a preset decides are given: they then hold for all presets."""
    given: dict[str, Any] = {
        key: value
        for key, value in flatten(yaml12.load(workspace.params)).items()
        if value is not None and key not in _OWN_SAMPLER
    }
    given |= dict(setting.split("=", 1) for setting in settings)
    decided = sorted(set(PUBLISHED).union(*PRESETS.values()) & given.keys())
    if decided:
        _say(f"the same for all presets, not each paper's own: {', '.join(f'{key}={given[key]}' for key in decided)}")


def _presets(text: str | None) -> list[str]:
    presets = list(PRESETS) if text is None else [name.strip() for name in text.split(",")]
    for name in presets:
        if name not in PRESETS:
            raise UserError(f"--presets: {name!r} is none; there are {', '.join(PRESETS)}")
    return list(dict.fromkeys(presets))


def _setting(text: str) -> str:
    key = text.partition("=")[0]
    if "=" not in text or key == "diffusion.preset":
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE of a key other than diffusion.preset")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rediffuse.compare", description="Run the presets and compare them."
    )
    parser.add_argument("--presets", metavar="A,B", help="these alone, also in the table; default: all of them")
    parser.add_argument(
        "--set", dest="settings", metavar="KEY=VALUE", action="append", default=[], type=_setting,
        help="a parameter for each of them, as dvc exp run -S takes it; may stand several times",
    )  # fmt: skip
    parser.add_argument("--collect-only", action="store_true", help="run nothing; write what earlier experiments gave")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
