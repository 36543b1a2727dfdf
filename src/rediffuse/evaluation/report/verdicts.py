"""The verdicts of an evaluation, as the report and the model card show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rediffuse.evaluation.report.names import ASPECTS


@dataclass(frozen=True)
class Condition:
    """A rule that a verdict rests on, what was found for it in words, and whether it is met; None: not known."""

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
                Condition(
                    each["rule"], f"not so: {each['found']}" if each["met"] is False else each["found"], each["met"]
                )
                for each in verdicts[aspect]["conditions"]
            ),
        )
        for aspect, (title, question) in ASPECTS.items()
        if verdicts and aspect in verdicts
    ]
