"""A condition on scores says yes, no or not here, with the numbers in it; and nothing else gets through."""

import math
import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rediffuse.rules import Finding, Rule, dotted, judged, parse_name, score

SCORES: dict[str, Any] = {
    "fidelity": {
        "fd": 0.6256,
        "fd_floor": 0.8506,
        "by_class": {"3": {"fd": 1.5}, "T-shirt/top": {"fd": 2.5}},
        "extractor": "classifier",
    },
    "low": -0.5,
    "zero": 0.0,
    "nan": math.nan,
    "likelihood": None,
    "flag": True,
}


@pytest.mark.parametrize(
    ("text", "met", "found"),
    [
        ("fidelity.fd <= 2 * fidelity.fd_floor", True, "0.6256 <= 2 * 0.8506 = 1.701"),
        ("fidelity.fd>2*fidelity.fd_floor", False, "0.6256 > 2 * 0.8506 = 1.701"),
        ("low >= -3", True, "-0.5 >= -3"),
        ("-low - (1 - 2) < 1", False, "-(-0.5) - (1 - 2) = 1.5 < 1"),
        ("2 * (fidelity.fd + low) / low == 1", False, "2 * (0.6256 + (-0.5)) / (-0.5) = -0.5024 == 1"),
        ('fidelity.by_class.3.fd < fidelity.by_class["T-shirt/top"].fd', True, "1.5 < 2.5"),
        ("fidelity . by_class . 3 . fd == 1.5", True, "1.5 == 1.5"),
        # Four digits would say 0.6256 <= 0.6256.
        ("fidelity.fd <= 0.62559", False, "0.6256 <= 0.62559"),
        ("2 * fidelity.fd >= 1.25121", False, "2 * 0.6256 = 1.2512 >= 1.25121"),
        ("low / zero < 1", False, "-0.5 / 0 = no number < 1"),
        ("low / zero > -1", False, "-0.5 / 0 = no number > -1"),
        ("nan <= 1", False, "nan <= 1"),
        ("nan == nan", False, "nan == nan"),
        ("likelihood.bits_per_dim <= 3", None, "this run has no likelihood.bits_per_dim"),
        ("utility.cas_accuracy >= fidelity.fd", None, "this run has no utility.cas_accuracy"),
        ("fidelity.extractor > 1", None, "this run has no fidelity.extractor"),
        ("flag == 1", None, "this run has no flag"),
        ("fidelity > 1", None, "this run has no fidelity"),
        ('fidelity.by_class["a b"].fd > 1', None, 'this run has no fidelity.by_class["a b"].fd'),
    ],
)
def test_a_rule_shows_what_it_found(text: str, met: bool | None, found: str) -> None:
    assert Rule.parse(text).judge(SCORES) == Finding(met, found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fidelity.fd", "one comparison with <, <=, >, >= or == is expected"),
        ("1 < fidelity.fd < 2", "one comparison"),
        ("fidelity.fd < 1 and fidelity.fd > 0", "one comparison"),
        ("fidelity.fd = 1", "it can't be read"),
        ("fidelity.fd <=", "it can't be read"),
        ("", "it can't be read"),
        ("a\0 < 1", "it can't be read"),
        ("fidelity.fd != 1", "only <, <=, >, >= and == compare"),
        ("fidelity.fd is 1", "only <, <=, >, >= and == compare"),
        ("1 in fidelity", "only <, <=, >, >= and == compare"),
        ("1 < 2", "it names no score"),
        ("fidelity.fd ** 2 < 1", "only +, -, * and / compute"),
        ("fidelity.fd < 9 ** 9 ** 9 ** 9", "only +, -, * and / compute"),
        ("fidelity.fd < 1 << 99999", "only +, -, * and / compute"),
        ("fidelity.fd < 1e999", "a number is too large"),
        ("fidelity.fd < True", "True and False are no numbers"),
        ("__import__('os').system('true') < 1", "and nothing else"),
        ("abs(fidelity.fd) < 1", "and nothing else"),
        ("[x for x in y] < 1", "and nothing else"),
        ("(lambda: fidelity.fd) < 1", "and nothing else"),
        ("(fidelity := 3) < 1", "and nothing else"),
        ("fidelity[0] < 1", "and nothing else"),
        ("fidelity['a':'b'] < 1", "and nothing else"),
        ("f'{fidelity.fd}' < 1", "and nothing else"),
        ("'a'.b < 1", "and nothing else"),
        ("fidelity.fd < 1j", "and nothing else"),
        ("fidelity.fd < 'a'", "and nothing else"),
        ("~fidelity.fd < 1", "and nothing else"),
        ("not fidelity.fd < 1", "one comparison"),
        ("(" * 400, "longer than 300 characters"),
        ("-" * 290 + "a < 1", None),
        ("(" * 140 + "a" + ")" * 140 + " < 1", None),
    ],
)
def test_what_is_no_condition_is_refused_with_a_reason_and_an_example(text: str, message: str | None) -> None:
    if message is None:
        # As deep as a text may go: read or refused, but no crash.
        try:
            assert Rule.parse(text).judge({"a": 2.0}).met is False
        except ValueError:
            return
        return
    with pytest.raises(ValueError, match=r"is no condition: .*; for example fidelity\.fd <= 2 ") as raised:
        Rule.parse(text)
    assert message in str(raised.value)


numbers = st.one_of(st.integers(0, 1000), st.floats(0, 1000).map(lambda value: round(value, 3))).map(str)
sides = st.recursive(
    st.one_of(numbers, st.sampled_from(["low", "fidelity.fd", "fidelity.fd_floor"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: " ".join(parts)),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(left=sides, right=sides, sign=st.sampled_from(["<", "<=", ">", ">=", "=="]))
def test_arithmetic_is_pythons_and_the_shown_text_computes_the_same(left: str, right: str, sign: str) -> None:
    text = f"{left} {sign} {right} + 0 * low"
    if len(text) > 300:
        return
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}[sign]

    class Fidelity:
        fd, fd_floor = 0.625, 0.875

    def computed(side: str) -> float:
        try:
            return float(eval(side, {}, {"low": -0.5, "fidelity": Fidelity}))
        except ZeroDivisionError:
            return math.nan

    ours = Rule.parse(text).judge({"low": -0.5, "fidelity": {"fd": 0.625, "fd_floor": 0.875}})
    values = computed(left), computed(f"{right} + 0 * low")
    assert ours.met is compare(*values)
    if not any(map(math.isnan, values)):
        before, after = (part.split(" = ")[0] for part in ours.found.split(f" {sign} "))
        assert (computed(before), computed(after)) == pytest.approx(values, rel=1e-9, abs=1e-9)


def test_a_name_is_written_as_it_is_read() -> None:
    for text in ("fidelity.fd", "fidelity.by_class.3.fd", 'fidelity.by_class["T-shirt/top"].fd', "n_samples"):
        assert dotted(parse_name(text)) == text
    # Words of Python's, letters that it would change, numbers behind brackets, quotes and backslashes.
    for part in ("class", "for", "None", "True", "ﬁsh", "Ｋ", "3", "1e5", "a b", 'T"x', "it's", r"a\n"):
        name = ("fidelity", "by_class", part, "3", "class")
        assert parse_name(dotted(name)) == name
        assert Rule.parse(f"{dotted(name)} > 1").names == (name,)
    assert score(SCORES, parse_name('fidelity.by_class["T-shirt/top"].fd')) == 2.5
    for text in ("fidelity.fd <= 1", "fidelity.", "2 * a", "f()", "3"):
        with pytest.raises(ValueError, match=r"is no name of a score.*; for example fidelity\.fd"):
            parse_name(text)


def test_rules_are_judged_as_metrics_hold_it() -> None:
    assert judged(SCORES, ["low  <  1", "missing > 1"]) == [
        {"rule": "low < 1", "found": "-0.5 < 1", "met": True},
        {"rule": "missing > 1", "found": "this run has no missing", "met": None},
    ]
