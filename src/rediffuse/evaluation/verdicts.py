"""What is made of the scores: a verdict for each aspect, with the rule that it comes from and the numbers in it."""

from collections.abc import Iterable, Mapping
from typing import Any

from rediffuse.errors import UserError
from rediffuse.rules import Rule

MET, NOT_MET, NOT_ASKED = "met", "not met", "not asked"


def judge(metrics: Mapping[str, Any], verdicts: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """The section `verdicts` of metrics/evaluate.json: aspect -> {verdict, conditions: [{rule, found, met}]}.

    Args:
        metrics: all scores, as they are written.
        verdicts: aspect -> its conditions, by the section `evaluate.verdicts`.

    A condition that is not met decides; else, one whose score the run has not leaves the aspect "not asked", and so
    does an aspect without conditions.
    """
    return {aspect: _verdict(conditions_on(metrics, rules)) for aspect, rules in verdicts.items()}


def conditions_on(metrics: Mapping[str, Any], rules: Iterable[str]) -> list[dict[str, Any]]:
    """Each rule with what it finds, {rule, found, met}; `met` is None where the run has not all the scores."""
    parsed = [Rule.parse(rule) for rule in rules]
    findings = [(rule, rule.judge(metrics)) for rule in parsed]
    return [{"rule": rule.text, "found": finding.found, "met": finding.met} for rule, finding in findings]


def check_verdicts(verdicts: Mapping[str, Any], fail_on: Iterable[str]) -> None:
    """Refuse a model whose verdicts are not met.

    Args:
        verdicts: by `judge`.
        fail_on: the aspects that matter. One that is not asked fails nothing.

    Raises:
        UserError: names those that are not met, with the numbers.
    """
    failed = []
    for aspect in fail_on:
        if verdicts[aspect]["verdict"] == NOT_MET:
            broken = [condition for condition in verdicts[aspect]["conditions"] if condition["met"] is False]
            found = "; ".join(f"{condition['rule']} is {condition['found']}" for condition in broken)
            failed.append(f"{aspect} ({found})")
    if failed:
        raise UserError(
            f"the verdicts of evaluate.fail_on are not met: {', '.join(failed)}; "
            "reports/report.html and metrics/evaluate.json hold all scores"
        )


def _verdict(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    answers = [condition["met"] for condition in conditions]
    if False in answers:
        verdict = NOT_MET
    else:
        verdict = NOT_ASKED if None in answers or not answers else MET
    return {"verdict": verdict, "conditions": conditions}
