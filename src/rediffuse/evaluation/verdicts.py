"""What is made of the scores: a verdict for each aspect, with the rule that it comes from and the numbers in it."""

from collections.abc import Iterable, Mapping
from typing import Any

from rediffuse.errors import VerdictError
from rediffuse.rules import judged

MET, NOT_MET, NOT_ASKED = "met", "not met", "not asked"


def judge(metrics: Mapping[str, Any], verdicts: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """The section `verdicts` of metrics/evaluate.json: aspect -> {verdict, conditions: [{rule, found, met}]}.

    Args:
        metrics: all scores, as they are written.
        verdicts: aspect -> its conditions, by the section `evaluate.verdicts`.

    A condition that is not met decides; else, one whose score the run has not leaves the aspect "not asked", and so
    does an aspect without conditions.
    """
    return {aspect: _verdict(judged(metrics, rules)) for aspect, rules in verdicts.items()}


def check_verdicts(verdicts: Mapping[str, Any], fail_on: Iterable[str]) -> None:
    """Refuse a model whose verdicts are not met.

    Args:
        verdicts: by `judge`.
        fail_on: the aspects that matter. One that is not asked fails nothing.

    Raises:
        VerdictError: names those that are not met, with the numbers.
    """
    failed = []
    for aspect in fail_on:
        if verdicts[aspect]["verdict"] == NOT_MET:
            broken = [condition for condition in verdicts[aspect]["conditions"] if condition["met"] is False]
            found = "; ".join(f"{condition['rule']}: {condition['found']} is not so" for condition in broken)
            failed.append(f"{aspect} ({found})")
    if failed:
        raise VerdictError(
            f"the verdicts of evaluate.fail_on are not met: {', '.join(failed)}; "
            "reports/report.html and metrics/evaluate.json hold all scores"
        )


def _verdict(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    answers = [condition["met"] for condition in conditions]
    if False in answers:
        return {"verdict": NOT_MET, "conditions": conditions}
    return {"verdict": NOT_ASKED if None in answers or not answers else MET, "conditions": conditions}
