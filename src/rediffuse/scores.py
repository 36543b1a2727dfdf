"""The scores of the present model in a short table, and where to look: `python -m rediffuse.scores`."""

import sys
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any

from rediffuse import files
from rediffuse.workspace import Workspace

_COLUMNS = 100
_ROWS = (
    ("FD (lower is better)", "fidelity", "fd", "fd_floor"),
    ("KID (lower is better)", "fidelity", "kid", "kid_floor"),
    ("precision", "fidelity", "precision", "precision_floor"),
    ("recall", "fidelity", "recall", "recall_floor"),
    ("coverage", "fidelity", "coverage", "coverage_floor"),
    ("CAS accuracy", "utility", "cas_accuracy", "real_accuracy"),
    ("GAN-test accuracy", "utility", "gan_test_accuracy", "real_accuracy"),
    ("C_T (below 0: copies)", "memorisation", "ct", "ct_floor"),
    ("membership AUC", "memorisation", "membership_auc", ""),
    ("bits/dim (lower is better)", "likelihood", "bits_per_dim", "bits_per_dim_baseline"),
)
"""Title, section of metrics/evaluate.json, score, and the number to hold it against."""


def table(metrics: dict[str, Any]) -> str:
    """metrics/evaluate.json as lines of text: each score, its 95 % interval, and what real images get beside it.

    A score that was not taken has no line; for bits/dim the last number is that of mean and variance alone, which a
    line at the end says.
    """
    lines = [f"{'':28}{'samples':>10}   {'95 % interval':<20}{'real':>10}"]
    for title, block, name, beside in _ROWS:
        found = metrics.get(block) or {}
        if name in found:
            interval = f"{found[f'{name}_low']:.4g} to {found[f'{name}_high']:.4g}"
            real = f"{found[beside]:.4g}" if beside else ""
            mark = "*" if block == "likelihood" else ""
            lines.append(f"{title:28}{found[name]:>10.4g}   {interval:<20}{real:>10}{mark}".rstrip())
    return "\n".join(
        [*lines, "* by mean and variance of the training images alone"] if metrics["likelihood"] else lines
    )


def verdicts(metrics: dict[str, Any]) -> str:
    """Each aspect with its verdict and the rules that produced it, each on a line of its own, with the numbers of those
    that are not met or what they lack."""
    lines = []
    for aspect, said in metrics["verdicts"].items():
        rules = [
            condition["rule"]
            + {True: "", False: f" (not so: {condition['found']})", None: f" ({condition['found']})"}[condition["met"]]
            for condition in said["conditions"]
        ]
        beside = [line for rule in rules for line in wrap(rule, _COLUMNS - 32, subsequent_indent="  ")]
        heads = [f"{aspect.replace('_', ' '):20}{said['verdict']:12}", *[" " * 32] * (len(beside) - 1)]
        lines += [f"{head}{line}".rstrip() for head, line in zip_longest(heads, beside, fillvalue="")]
    return "\n".join(lines)


def main() -> None:
    """Print table and verdicts for the working folder."""
    workspace = Workspace.at(Path.cwd())
    path = workspace.metrics("evaluate")
    if not path.exists():
        sys.exit(f"{path.relative_to(workspace.root)} is missing; `make` makes it")
    metrics = files.read_json(path)
    for part in (table(metrics), verdicts(metrics)):
        sys.stdout.write(f"\n{part}\n")
    sys.stdout.write(
        "\nsamples   samples/grid.png, samples/film.png\n"
        "data      reports/data.html\n"
        "report    reports/report.html, reports/model_card.md, reports/figures/\n"
        "runs      make ui, then http://127.0.0.1:5000\n"
    )


if __name__ == "__main__":
    main()
