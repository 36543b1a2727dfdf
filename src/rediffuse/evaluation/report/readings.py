"""One line of plain words for each score of fidelity: what its value says against that of real images.

No line says more than the intervals allow: where they overlap no difference is shown, which is not to say that the two
are equal.
"""

from typing import Any, Literal

from rediffuse.evaluation.report.names import CONTROLS, Score, interval, scores_in, share
from rediffuse.pages import Reading, number

Standing = Literal["alike", "better", "worse", "unknown"]
SMALL = 1000  # images; below it one image is more than 0.1 points

_ALIKE = "No difference from real test images is shown: the intervals overlap."
_NEARER = "Nearer to the training images than new real ones, beyond the intervals. Copies would be so, too."
_SHARES = {
    "precision": (
        "{value} of 100 generated images look like a real one; of real test images {floor}",
        "it keeps to what is typical",
    ),
    "recall": (
        "{value} of 100 real images have their like among the generated; among real test images {floor}",
        "copies of real images would have it, too",
    ),
    "f1": ("Precision and recall in one number, their harmonic mean", "look at each of them"),
    "density": ("How closely generated images crowd around real ones; 1 is expected", "it keeps to what is typical"),
    "coverage": (
        "{value} of 100 real images have a generated one close by; a real test image {floor}",
        "copies of real images would have it, too",
    ),
}
"""Of each share: a sentence, and what a value above that of real images would mean."""
GOOD: dict[Standing, bool | None] = {"alike": None, "better": True, "worse": False, "unknown": None}
"""How a standing is coloured: no difference that is shown is no praise."""
_ENDINGS = {
    "alike": "{0}. No difference is shown: the intervals overlap.",
    "better": "{0}. More, beyond the intervals: {1}.",
    "worse": "{0}. Less, beyond the intervals.",
    "unknown": "{0}.",
}


def standing(scores: dict[str, float], name: str, *, lower: bool) -> Standing:
    """Where the interval of a score lies to that of its floor; unknown where one of them has none.

    Args:
        lower: whether less is better.
    """
    ends = [f"{name}{floor}_{end}" for floor in ("", "_floor") for end in ("low", "high")]
    if any(end not in scores for end in ends):
        return "unknown"
    low, high, floor_low, floor_high = (scores[end] for end in ends)
    if low <= floor_high and floor_low <= high:
        return "alike"
    return "better" if (high < floor_low) == lower else "worse"


def read_fidelity(scores: dict[str, Any], controls: dict[str, dict[str, float]] | None = None) -> list[Reading]:
    """Readings of the section `fidelity` of metrics/evaluate.json.

    Args:
        controls: its section `controls`: a distance beyond that of real images is set among theirs.
    """
    rows = []
    for score in scores_in(scores):
        found = standing(scores, score.key, lower=score.lower)
        rows.append(
            Reading(
                score.title,
                score.written(scores[score.key]),
                score.written(scores[f"{score.key}_floor"]),
                _distance(scores, score, found, controls or {}) if score.lower else _share(scores, score, found),
                GOOD[found],
                interval(scores, score.key, score.written),
                interval(scores, f"{score.key}_floor", score.written),
            )
        )
    if labels := scores.get("labels"):
        rows.append(
            Reading(
                "Deviation of the classes",
                share(labels["deviation"]),
                share(labels["deviation_floor"]),
                f"{100 * labels['deviation']:.1f} of 100 images would have to change class for the shares that the "
                "judge sees to be those asked for. It errs on real images, too.",
                GOOD[standing(labels, "deviation", lower=True)],
                interval(labels, "deviation", share),
                interval(labels, "deviation_floor", share),
            )
        )
    return rows


def notes(scores: dict[str, Any], *, images: int, generated: int) -> list[str]:
    """What a reader of these scores should bear in mind.

    Args:
        scores: the section `fidelity` of metrics/evaluate.json.
        images: that each score is of.
        generated: that there are.
    """
    lines = []
    if images < SMALL:
        lines.append(
            f"Each score is of {images:,} images: one of them is {100 / images:.1f} points of precision. "
            "No difference within the intervals is shown to be more than chance."
        )
    below = [score.short for score in scores_in(scores) if score.key in ("kid", "mmd") and scores[score.key] < 0]
    if below:
        lines.append(
            f"{' and '.join(below)} below 0: the estimate is unbiased, so it falls below 0 where there is little to "
            "find. The intervals hold this training set fixed; and folds whose labels cycle through the classes are "
            "more alike than folds drawn by chance, which takes such an estimate lower still."
        )
    if "fd_full" in scores:
        lines.append(
            f"All {generated:,} generated images at once have a Fréchet distance of {number(scores['fd_full'])}: to be "
            "compared with other models at that number of images; it has no floor."
        )
    return lines


def _share(scores: dict[str, float], score: Score, found: Standing) -> str:
    sentence, more = _SHARES[score.key]
    value, floor = (f"{100 * scores[name]:.0f}" for name in (score.key, f"{score.key}_floor"))
    return _ENDINGS[found].format(sentence.format(value=value, floor=floor), more)


def _distance(scores: dict[str, float], score: Score, found: Standing, controls: dict[str, dict[str, float]]) -> str:
    value, floor = scores[score.key], scores[f"{score.key}_floor"]
    if found == "alike":
        return _ALIKE
    if found == "better":
        return _NEARER
    if value <= floor:
        return "No farther from the training images than real test images are."
    words = "Farther from the training images than real test images are"
    if score.key == "fd" and floor > 0:
        words += f": {value / floor:.1f} times the floor"
    return f"{words}." + (_among(value, score, controls) if found == "worse" else "")


def _among(value: float, score: Score, controls: dict[str, dict[str, float]]) -> str:
    """Between which controls a distance lies, of those on its scale."""
    known = sorted((controls[name][score.key], words) for name, (_, words) in CONTROLS.items() if name in controls)
    nearer = [name for found, name in known if found < value]
    farther = [name for found, name in known if found > value]
    if not known:
        return ""
    if not farther:
        return " Farther than every control."
    return f" That is between {nearer[-1]} and {farther[0]}." if nearer else f" Still nearer than {farther[0]}."
