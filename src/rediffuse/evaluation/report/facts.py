"""The facts of a report by name: cost, data, protocol, environment, and what tells one result from another."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rediffuse import files
from rediffuse.data.card import Card
from rediffuse.evaluation.report.cost import Cost
from rediffuse.evaluation.report.names import printable
from rediffuse.pages import number
from rediffuse.provenance.environment import PACKAGES
from rediffuse.provenance.pipeline import stage_files
from rediffuse.provenance.source import source_digest
from rediffuse.workspace import Workspace

COMMANDS = (
    ("make setup", "the locked packages, in .venv"),
    ("dvc repro", "makes whatever is not up to date"),
    ("make verify", "makes everything once more, beside this, and compares every byte"),
)
CODE = {"train": "code of the model", "sample": "code of the samples", "evaluate": "code of the scores"}
"""What the code of a stage decides."""
_KINDS = {1: "grey", 3: "RGB"}
_EMA = {
    "constant": "exponential, decay {ema_decay:g}, from step {ema_start} on",
    "power": "power of the step, length {ema_length:g} of the training",
}
_LENGTHS = {"ode": "adaptive, tolerance {tolerance:g}"}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Identity:
    """Digests that tell this result from others.

    Args:
        model_sha256, model_md5: of models/denoiser.safetensors; dvc.lock lists the MD5.
        code: by stage, SHA-256 of the code that it depends on; of those of CODE that dvc.yaml names.
    """

    model_sha256: str
    model_md5: str
    code: Mapping[str, str]


def identity(workspace: Workspace) -> Identity:
    """The digests of the model here and of the running code.

    The code is what dvc.yaml lists for each stage. The stage `evaluate` depends on all of it: a change makes the report
    again, so no digest is older than the report.
    """
    code = {}
    for name, stage in stage_files(workspace).items():
        parts = [str(dep.relative_to("src/rediffuse")) for dep in stage.deps if dep.is_relative_to("src/rediffuse")]
        if name in CODE and parts:
            code[name] = source_digest(Path(workspace.root, "stages", f"{name}.py"), parts)
    return Identity(files.sha256(workspace.denoiser), files.md5(workspace.denoiser), code)


def shape_text(card: Card) -> str:
    """ "8 × 8, grey"."""
    channels, height, width = card.shape
    return f"{width} × {height}, {_KINDS[channels]}"


def data_facts(card: Card) -> dict[str, str]:
    """What the data is."""
    facts = {
        "source": card.source,
        "origin": card.origin,
        "licence": card.licence,
        "retrieved": card.retrieved,
        "images": f"{card.count:,}",
        "shape": shape_text(card),
        "classes": ", ".join(f"{printable(name)} ({card.class_counts[name]:,})" for name in card.classes) or "none",
        "mean and standard deviation on [-1, 1]": f"{number(card.mean)}, {number(card.std)}",
    }
    return {name: value for name, value in facts.items() if value}


def made_by(model_md5: str) -> str:
    """The command that lists the commits which brought this model to dvc.lock, the first of them first."""
    return f"git log --reverse --oneline -S{model_md5} -- dvc.lock"


def model_facts(params: Mapping[str, Any]) -> dict[str, str]:
    """What the model is, how it was trained and how it is sampled, from the tracked parameters."""
    model, diffusion, train, sample = (params[section] for section in ("model", "diffusion", "train", "sample"))
    length = _LENGTHS.get(sample["sampler"], "{steps} steps, grid {grid}")
    return {
        "network": _named(model["name"], model),
        "precision": model["precision"],
        "path from data to noise": _named(diffusion["process"], diffusion),
        "the network predicts": diffusion["prediction"],
        # The section's key edm is of the path of that name.
        "weighting of the loss": _named(diffusion["weighting"], {} if diffusion["weighting"] == "edm" else diffusion),
        "noise levels in training": _named(diffusion["noise_levels"], diffusion),
        "training": f"{train['steps']:,} steps × {train['batch_size']} images, {train['schedule']}, peak learning rate "
        f"{train['lr']:g}, seed {params['seed']}",
        "averaged weights": _EMA[train["ema"]].format(**train),
        "labels": f"left out of {100 * train['label_drop']:g} of 100 training examples",
        "sampler": f"{sample['sampler']}, {length.format(**sample)}",
        "guidance": "1 (off)"
        if sample["guidance"] == 1
        else f"{sample['guidance']:g} ({sample['guidance_reference']})",
        "images drawn": f"{sample['count']:,} in batches of {sample['batch_size']}, seed {sample['seed']}",
    }


def _named(name: str, section: Mapping[str, Any]) -> str:
    """The name of a part, and what its section sets for it."""
    settings = section.get(name)
    return f"{name} ({_text(settings)})" if isinstance(settings, Mapping) else str(name)


def cost_facts(cost: Cost) -> dict[str, str]:
    """What the model costs."""
    return {
        "parameters": f"{cost.parameters:,}",
        "training images seen": f"{cost.examples:,}",
        "one evaluation of one image": f"{scaled(cost.forward)}FLOPs",
        "evaluations an image": number(cost.evaluations),
        "one image": f"{scaled(cost.image)}FLOPs",
    }


def scaled(value: float) -> str:
    """Three significant digits and a prefix, "31.4 M"; the unit follows."""
    factor, prefix = next(((factor, prefix) for factor, prefix in _PREFIXES if value >= factor), (1.0, ""))
    return f"{value / factor:.3g} {prefix}"


def protocol_facts(protocol: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """How it was scored, by block of scores; what belongs to none stands under "all"."""
    blocks: dict[str, dict[str, str]] = {}
    for name, value in protocol.items():
        if isinstance(value, Mapping):
            blocks[name] = {fact.replace("_", " "): _text(each) for fact, each in value.items()}
        elif isinstance(value, str) and name in ("utility", "likelihood", "memorisation"):
            blocks[name] = {"method": value}
        else:
            blocks.setdefault("all", {})[name.replace("_", " ")] = _text(value)
    return blocks


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_text(each)}" for name, each in value.items())
    return str(value)


def environment_facts(environment: Mapping[str, str]) -> dict[str, str]:
    """What the numbers were computed with, as far as machines that give the same numbers share it.

    The page is an out that `make verify` compares with that of other machines. So it holds Python without its patch
    level, the packages without their build, the system and the kind of device; processor, GPU, driver and threads stand
    in the record of the stage (.pipeline/made) and in MLflow's tags, which explain a difference and can't make one.
    """
    facts = {
        "python": ".".join(environment.get("python", "").split(".")[:2]),
        **{name: environment.get(name, "").partition("+")[0] for name in PACKAGES},
        "system": " ".join(filter(None, (environment.get("system"), environment.get("machine")))),
        "device": environment.get("device", ""),
    }
    return {name: value for name, value in facts.items() if value and value != "none"}


def digest_facts(card: Card, identity: Identity, protocol: Mapping[str, Any]) -> dict[str, str]:
    """What tells this result from others: digests of data, model, extractors and code."""
    extractors = {
        f"extractor {block.get('extractor', name)}, SHA-256": str(block["digest"])
        for name, block in protocol.items()
        if isinstance(block, Mapping) and "digest" in block
    }
    return {
        "data, SHA-256": card.digest,
        "model, SHA-256": identity.model_sha256,
        "model, MD5 (dvc.lock)": identity.model_md5,
        **extractors,
        **{f"{CODE[stage]}, SHA-256": digest for stage, digest in identity.code.items()},
    }
