"""The scores of the present model in a short table, and where to look: `python -m rediffuse.scores`."""

import sys
from pathlib import Path
from typing import Any

from rediffuse import files
from rediffuse.workspace import Workspace


def table(metrics: dict[str, Any]) -> str:
    """metrics/evaluate.json as lines of text: each score, and what real images get beside it."""
    fidelity, utility, likelihood = metrics["fidelity"], metrics["utility"], metrics["likelihood"]
    rows: list[tuple[str, float, float | None]] = [
        ("FD (lower is better)", fidelity["fd"], fidelity["fd_floor"]),
        ("KID (lower is better)", fidelity["kid"], fidelity["kid_floor"]),
        ("precision", fidelity["precision"], fidelity["precision_floor"]),
        ("recall", fidelity["recall"], fidelity["recall_floor"]),
    ]
    if utility:
        rows += [
            ("CAS accuracy", utility["cas_accuracy"], utility["real_accuracy"]),
            ("GAN-test accuracy", utility["gan_test_accuracy"], utility["real_accuracy"]),
        ]
    if likelihood:
        # What the model makes of the real test images; they have no second number of their own.
        rows.append(("bits/dim (lower is better)", likelihood["bits_per_dim"], None))
    lines = [f"{'':28}{'samples':>10}{'real':>10}"]
    lines += [f"{name:28}{value:>10.4g}" + (f"{real:>10.4g}" if real is not None else "") for name, value, real in rows]
    return "\n".join(lines)


def main() -> None:
    """Print the table for the working folder."""
    workspace = Workspace.at(Path.cwd())
    path = workspace.metrics("evaluate")
    if not path.exists():
        sys.exit(f"{path.relative_to(workspace.root)} is missing; `make` makes it")
    sys.stdout.write(
        f"\n{table(files.read_json(path))}\n\n"
        "samples   samples/grid.png, samples/film.png\n"
        "data      reports/data.html\n"
        "report    reports/report.html\n"
        "runs      make ui, then http://127.0.0.1:5000\n"
    )


if __name__ == "__main__":
    main()
