"""The numbers of a comparison and their table: a row a preset, and one of what real images get."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rediffuse.evaluation.report.names import share
from rediffuse.pages import number

_FIDELITY = ("fd", "kid", "precision", "recall", "f1")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What metrics/compare.json holds.

    Args:
        families: preset -> scores by name; None for one that failed.
        real: what real test images get, by the same names.
        made: how it was made, by parameter; equal for all of them.
        seconds: preset -> stage -> seconds. They are the machine's, and so the one part that does not repeat.
    """

    families: dict[str, dict[str, float] | None]
    real: dict[str, float]
    made: dict[str, Any]
    seconds: dict[str, dict[str, float]]


def scores_of(evaluate: Mapping[str, Any], sample: Mapping[str, Any]) -> dict[str, float]:
    """The scores of one preset from metrics/evaluate.json and metrics/sample.json; a score not taken is left out."""
    fidelity, utility = evaluate["fidelity"], evaluate["utility"] or {}
    found = {name: fidelity[name] for name in (*_FIDELITY, "fd_floor")}
    found |= {name: utility[name] for name in ("cas_accuracy", "gan_test_accuracy") if name in utility}
    bits = (evaluate.get("likelihood") or {}).get("bits_per_dim")
    return found | ({} if bits is None else {"bits_per_dim": bits}) | {"evaluations": sample["evaluations"]}


def real_scores(evaluate: Mapping[str, Any]) -> dict[str, float]:
    """What real images get, from metrics/evaluate.json."""
    found = {name: evaluate["fidelity"][f"{name}_floor"] for name in _FIDELITY}
    utility = evaluate["utility"]
    accuracies = dict.fromkeys(("cas_accuracy", "gan_test_accuracy"), utility["real_accuracy"]) if utility else {}
    return found | accuracies


_COLUMNS = (
    ("FD", "fd", number),
    ("KID", "kid", number),
    ("precision", "precision", share),
    ("recall", "recall", share),
    ("F1", "f1", share),
    ("CAS", "cas_accuracy", share),
    ("GAN-test", "gan_test_accuracy", share),
    ("bits/dim", "bits_per_dim", lambda value: f"{value:.2f}"),
    ("NFE", "evaluations", lambda value: f"{value:.0f}"),
)
HEADINGS = ("preset", *(heading for heading, _, _ in _COLUMNS), "train, s", "sample, s")


def rows(comparison: Comparison) -> list[list[str]]:
    """The table's cells, without the headings; an empty cell is a number nobody has."""
    table = []
    for name, scores in [*comparison.families.items(), ("real images", comparison.real)]:
        if scores is None:
            table.append([name, "failed", *[""] * (len(HEADINGS) - 2)])
            continue
        cells = [written(scores[key]) if key in scores else "" for _, key, written in _COLUMNS]
        seconds = comparison.seconds.get(name, {})
        table.append([name, *cells, *(f"{seconds[s]:.0f}" if s in seconds else "" for s in ("train", "sample"))])
    return table


def markdown(comparison: Comparison) -> str:
    """The table as Markdown."""
    lines = [HEADINGS, ["---"] + ["---:"] * (len(HEADINGS) - 1), *rows(comparison)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
