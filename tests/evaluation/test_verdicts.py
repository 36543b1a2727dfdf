"""A verdict an aspect, with the rule and the numbers it comes from."""

import pytest

from rediffuse.errors import UserError
from rediffuse.evaluation.verdicts import check_verdicts, judge

METRICS = {"fidelity": {"fd": 1.5, "fd_floor": 1.0, "recall": 0.5}, "utility": None}
RULES = {
    "fidelity": ("fidelity.fd <= 2 * fidelity.fd_floor", "fidelity.recall > 0.25"),
    "diversity": ("fidelity.fd < fidelity.fd_floor", "utility.cas_accuracy > 0.5"),
    "class_consistency": ("fidelity.fd < 2", "utility.gan_test_accuracy > 0.9"),
    "memorisation": (),
    "likelihood": ("fidelity.recall > 0.5",),
}


def test_each_aspect_has_its_verdict_and_what_led_to_it() -> None:
    verdicts = judge(METRICS, RULES)
    assert {aspect: verdict["verdict"] for aspect, verdict in verdicts.items()} == {
        "fidelity": "met",
        "diversity": "not met",  # whatever the score that is missing would say
        "class_consistency": "not asked",
        "memorisation": "not asked",
        "likelihood": "not met",
    }
    assert verdicts["class_consistency"]["conditions"] == [
        {"rule": "fidelity.fd < 2", "found": "1.5 < 2", "met": True},
        {"rule": "utility.gan_test_accuracy > 0.9", "found": "this run has no utility.gan_test_accuracy", "met": None},
    ]
    assert verdicts["memorisation"]["conditions"] == []


def test_only_what_is_not_met_and_asked_for_fails() -> None:
    verdicts = judge(METRICS, RULES)
    check_verdicts(verdicts, [])
    check_verdicts(verdicts, ["fidelity", "class_consistency", "memorisation"])
    with pytest.raises(UserError) as raised:
        check_verdicts(verdicts, ["fidelity", "likelihood", "diversity"])
    assert str(raised.value) == (
        "the verdicts of evaluate.fail_on are not met: likelihood (fidelity.recall > 0.5: 0.5 > 0.5 is not so), "
        "diversity (fidelity.fd < fidelity.fd_floor: 1.5 < 1 is not so); "
        "reports/report.html and metrics/evaluate.json hold all scores"
    )
