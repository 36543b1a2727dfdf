"""The verdicts of an evaluation, as the report and the model card show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rediffuse.evaluation.report.names import ASPECTS
from rediffuse.pages import number


@dataclass(frozen=True)
class Condition:
    """A rule that a verdict rests on, the numbers found for it as text, and whether it is met; None: not known."""

    rule: str
    found: str
    met: bool | None


@dataclass(frozen=True)
class Verdict:
    """What is said of one aspect: met, not met or not asked, and why."""

    title: str
    question: str
    verdict: str
    conditions: tuple[Condition, ...]


def read_verdicts(verdicts: Mapping[str, Any] | None) -> list[Verdict]:
    """The section `verdicts` of metrics/evaluate.json, in the order of the report; none where it is missing."""
    return [
        Verdict(
            title,
            question,
            str(verdicts[aspect]["verdict"]),
            tuple(
                Condition(str(each["rule"]), found_text(each.get("found")), each.get("met"))
                for each in verdicts[aspect]["conditions"]
            ),
        )
        for aspect, (title, question) in ASPECTS.items()
        if verdicts and aspect in verdicts
    ]


def found_text(found: Any) -> str:
    """The numbers that a rule was judged by: a text as it stands, {name: value} as "name 1.5, name 2"."""
    if found is None:
        return "no such score"
    if isinstance(found, Mapping):
        return ", ".join(f"{name} {found_text(value)}" for name, value in found.items())
    if isinstance(found, list | tuple):
        return ", ".join(map(found_text, found))
    return number(found) if isinstance(found, float) else str(found)
