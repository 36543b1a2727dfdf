"""Scores by their dotted names, as the metrics files nest them: `fidelity.fd`, `train.val_loss`."""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches

LOWER, HIGHER = "lower", "higher"
SCORED = ("fidelity", "utility", "memorisation", "likelihood", "by_extractor", "controls", "sweep")
"""The parts of metrics files that a protocol belongs to."""

# By the last words of a name; a class or a sample size may stand behind it. C_T and ratios of distances are best near a
# value of their own, and so are not here.
_WORDS = {
    LOWER: (
        *("fd", "fd_full", "kid", "mmd", "deviation", "bits_per_dim", "loss", "loss_ema", "mse", "stderr"),
        *("cas_gap", "copies", "membership_auc", "membership_tpr", "exposure", "extracted"),
        *("evaluations", "parameters", "seconds"),
    ),
    HIGHER: (
        *("precision", "recall", "f1", "density", "coverage", "accuracy", "gain", "authenticity"),
        "examples_per_second",
    ),
}
_SHOWN = 30  # names in a message


def dotted(name: str) -> str | None:
    """The dotted name of a metric of MLflow's; None for a curve of training, which is no score of a run."""
    if name.startswith("train/"):
        return f"train.{name.removeprefix('train/final_')}" if name.startswith("train/final_") else None
    return name.replace("/", ".")


def better_of(name: str) -> str | None:
    """Whether a lower or a higher value of this score is better; None where the name does not say."""
    if name.startswith("verdicts."):
        return HIGHER
    for part in reversed(name.split(".")[-2:]):
        for better, words in _WORDS.items():
            if any(part == word or part.endswith(f"_{word}") for word in words):
                return better
    return None


def listed(asked: str, known: Iterable[str]) -> str:
    """Known names for a message: those like the one asked for, then evaluate's, then the others."""
    # An interval's ends are found beside the score.
    names = sorted(name for name in set(known) if not name.endswith(("_low", "_high")))
    close = get_close_matches(asked, names, n=5, cutoff=0.6)
    rest = sorted(set(names) - set(close), key=lambda name: (not name.startswith(SCORED), name.count("."), name))
    shown = [*close, *rest[: _SHOWN - len(close)]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def found(asked: str, *known: Collection[str]) -> str | None:
    """A name as it was typed (slashes as MLflow writes them are dots), where one of these has it."""
    name = asked.strip().replace("/", ".")
    return name if any(name in names for names in known) else None


def parts(text: str) -> Sequence[str]:
    """The names in a list with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
