"""The scores of the present model in a short table, and where to look: `python -m rediffuse.scores`."""

import sys
from pathlib import Path
from typing import Any

from rediffuse import files
from rediffuse.workspace import Workspace

_ROWS = (
    ("FD (lower is better)", "fidelity", "fd"),
    ("KID (lower is better)", "fidelity", "kid"),
    ("precision", "fidelity", "precision"),
    ("recall", "fidelity", "recall"),
    ("coverage", "fidelity", "coverage"),
    ("CAS accuracy", "utility", "cas_accuracy"),
    ("GAN-test accuracy", "utility", "gan_test_accuracy"),
    ("C_T (far below 0: copies)", "memorisation", "ct"),
    ("membership AUC", "memorisation", "membership_auc"),
    ("bits/dim (lower is better)", "likelihood", "bits_per_dim"),
)


def table(metrics: dict[str, Any]) -> str:
    """metrics/evaluate.json as lines of text: each score, its 95 % interval, and what real images get beside it.

    A score that was not taken has no line; for bits/dim the last number is that of mean and variance alone.
    """
    lines = [f"{'':28}{'samples':>10}   {'95 % interval':<20}{'real':>10}"]
    for title, block, name in _ROWS:
        found = metrics.get(block) or {}
        if name in found:
            low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
            interval = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
            real = found.get(f"{name}_floor", found.get("real_accuracy", found.get(f"{name}_baseline")))
            beside = "" if real is None or name == "membership_auc" else f"{real:.4g}"
            lines.append(f"{title:28}{found[name]:>10.4g}   {interval:<20}{beside:>10}".rstrip())
    return "\n".join(lines)


def verdicts(metrics: dict[str, Any]) -> str:
    """A line an aspect: its verdict, and the rules that produced it; empty where there are none."""
    lines = []
    for aspect, said in (metrics.get("verdicts") or {}).items():
        rules = "; ".join(
            condition["rule"] + ("" if condition["met"] else " is not so") for condition in said["conditions"]
        )
        lines.append(f"{aspect.replace('_', ' '):20}{said['verdict']:12}{rules}".rstrip())
    return "\n".join(lines)


def main() -> None:
    """Print table and verdicts for the working folder."""
    workspace = Workspace.at(Path.cwd())
    path = workspace.metrics("evaluate")
    if not path.exists():
        sys.exit(f"{path.relative_to(workspace.root)} is missing; `make` makes it")
    metrics = files.read_json(path)
    for part in filter(None, (table(metrics), verdicts(metrics))):
        sys.stdout.write(f"\n{part}\n")
    sys.stdout.write(
        "\nsamples   samples/grid.png, samples/film.png\n"
        "data      reports/data.html\n"
        "report    reports/report.html, reports/model_card.md, reports/figures/\n"
        "runs      make ui, then http://127.0.0.1:5000\n"
    )


if __name__ == "__main__":
    main()
