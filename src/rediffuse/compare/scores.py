"""The numbers of a comparison and their table: a row a preset, and one of what real images get."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rediffuse.evaluation.report.names import share
from rediffuse.pages import number

_FIDELITY = ("fd", "kid", "precision", "recall", "f1")
_ENDS = ("_low", "_high")


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
    """The scores of one preset from metrics/evaluate.json and metrics/sample.json, what was not taken left out.

    FD and CAS have their intervals beside them.
    """
    fidelity, utility = evaluate["fidelity"], evaluate["utility"] or {}
    found = {name: fidelity[name] for name in (*_FIDELITY, "fd_floor")} | _ends(fidelity, "fd", "fd")
    found |= {name: utility[name] for name in ("cas_accuracy", "gan_test_accuracy") if name in utility}
    found |= _ends(utility, "cas_accuracy", "cas_accuracy")
    bits = (evaluate.get("likelihood") or {}).get("bits_per_dim")
    return found | ({} if bits is None else {"bits_per_dim": bits}) | {"evaluations": sample["evaluations"]}


def real_scores(evaluate: Mapping[str, Any]) -> dict[str, float]:
    """What real images get, from metrics/evaluate.json."""
    fidelity, utility = evaluate["fidelity"], evaluate["utility"]
    found = {name: fidelity[f"{name}_floor"] for name in _FIDELITY} | _ends(fidelity, "fd_floor", "fd")
    if not utility:
        return found
    accuracies = dict.fromkeys(("cas_accuracy", "gan_test_accuracy"), utility["real_accuracy"])
    return found | accuracies | _ends(utility, "real_accuracy", "cas_accuracy")


def _ends(scores: Mapping[str, float], name: str, shown: str) -> dict[str, float]:
    """The ends of a score's interval, where there are any, under the name that it has here."""
    return {f"{shown}{end}": scores[f"{name}{end}"] for end in _ENDS if f"{name}{end}" in scores}


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
        cells = [_cell(scores, key, written) for _, key, written in _COLUMNS]
        seconds = comparison.seconds.get(name, {})
        table.append([name, *cells, *(f"{seconds[s]:.0f}" if s in seconds else "" for s in ("train", "sample"))])
    return table


def _cell(scores: Mapping[str, float], key: str, written: Callable[[float], str]) -> str:
    """A score, with its interval where there is one: "1.5 (1.2–1.9)"."""
    if key not in scores:
        return ""
    ends = [written(scores[f"{key}{end}"]) for end in _ENDS if f"{key}{end}" in scores]
    return f"{written(scores[key])} ({'–'.join(ends)})" if ends else written(scores[key])


def markdown(comparison: Comparison) -> str:
    """The table as Markdown."""
    lines = [HEADINGS, ["---"] + ["---:"] * (len(HEADINGS) - 1), *rows(comparison)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
