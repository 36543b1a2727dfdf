"""How people call the scores, the control images and the aspects of a verdict."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rediffuse.pages import number


def share(value: float) -> str:
    """Three decimals, for what lies between 0 and 1."""
    return f"{value:.3f}"


def printable(name: str) -> str:
    """A name of the user's with what can't be printed, line ends and direction marks among it, as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in name)


def points(value: float) -> str:
    """A share as points of a hundred, with its sign."""
    return f"{100 * value:+.1f}"


@dataclass(frozen=True)
class Score:
    """A score of fidelity.

    Args:
        key: in metrics/evaluate.json.
        title, short: for a row, for a column.
        lower: whether less is better.
        written: its value as text.
    """

    key: str
    title: str
    short: str
    lower: bool
    written: Callable[[float], str]


SCORES = (
    Score("fd", "Fréchet distance", "FD", True, number),
    Score("kid", "Kernel distance", "KID", True, number),
    Score("mmd", "Gaussian kernel distance", "MMD", True, number),
    Score("precision", "Precision", "precision", False, share),
    Score("recall", "Recall", "recall", False, share),
    Score("f1", "F1", "F1", False, share),
    Score("density", "Density", "density", False, share),
    Score("coverage", "Coverage", "coverage", False, share),
)

GENERATED, REAL_TEST = "generated", "real test"

HALF = "half_of_train"
"""The control that is as good as real, and on a scale of its own: its reference is half as large."""

CONTROLS = {
    "missing_class": ("a class missing", "real images without one class"),
    "noised": ("noised", "noised real images"),
    "blurred": ("blurred", "blurred real images"),
    "shuffled": ("shuffled", "shuffled real images"),
    "uniform": ("uniform noise", "uniform noise"),
}
"""Images that are bad on purpose, by their names in metrics/evaluate.json: a name for a row, and one in a sentence."""

ASPECTS = {
    "fidelity": ("Fidelity", "Do the images look real?"),
    "diversity": ("Diversity", "Is all that is real shown?"),
    "class_consistency": ("Class consistency", "Do they show the class asked for?"),
    "memorisation": ("Memorisation", "Does the model keep training images to itself, as far as this audit sees?"),
    "likelihood": ("Likelihood", "Are new real images probable?"),
}
"""The name of each verdict, and the question it answers."""


def scores_in(found: dict[str, float]) -> list[Score]:
    """The scores that a block of metrics holds, in the order of the report."""
    return [score for score in SCORES if score.key in found]


def by_count(counts: Iterable[str]) -> list[str]:
    """Numbers of images as metrics name them, the fewest first and "all" last."""
    return sorted(counts, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0))


def interval(scores: dict[str, float], name: str, written: Callable[[float], str]) -> str:
    """The 95 % interval of a score, "0.562 to 0.689"; empty where none is known."""
    low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
    return "" if low is None or high is None else f"{written(low)} to {written(high)}"
