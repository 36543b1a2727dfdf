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
_KINDS = {1: "grey", 3: "RGB"}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Identity:
    """Digests that tell this result from others.

    Args:
        model_sha256, model_md5: of models/denoiser.safetensors; dvc.lock lists the MD5.
        code: SHA-256 of the code that the stage evaluate depends on; empty where no dvc.yaml names it.
    """

    model_sha256: str
    model_md5: str
    code: str


def identity(workspace: Workspace) -> Identity:
    """The digests of the model here and of the running code.

    The code is what dvc.yaml lists for the stage `evaluate`: a change of it makes the report again, so the digest is
    never an older one than the report.
    """
    deps = stage_files(workspace)["evaluate"].deps if "evaluate" in stage_files(workspace) else ()
    parts = [str(dep.relative_to("src/rediffuse")) for dep in deps if dep.is_relative_to("src/rediffuse")]
    stage = Path(workspace.root, "stages", "evaluate.py")
    code = source_digest(stage, parts) if parts and stage.is_file() else ""
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
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
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
        **({"code of the scores, SHA-256": identity.code} if identity.code else {}),
    }
