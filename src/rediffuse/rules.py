"""Conditions on scores, as params.yaml states them: `fidelity.fd <= 2 * fidelity.fd_floor`.

A condition is one comparison (<, <=, >, >=, ==) of two sides, each made of names of scores, numbers, + - * / and
parentheses. A name is the path to a number of metrics/evaluate.json, its parts joined by dots. A part that is no word
or number stands in brackets and quotes: `fidelity.by_class.3.fd`, `fidelity.by_class["T-shirt/top"].fd`.

Python's parser reads the text, and nothing but what is listed here is accepted or computed.
"""

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

EXAMPLE = "fidelity.fd <= 2 * fidelity.fd_floor"
LONGEST = 300
"""Characters of a condition, at most: no parser is asked to go deeper."""

Name = tuple[str, ...]
"""The keys on the way to a score: ("fidelity", "by_class", "3", "fd")."""

_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, int, Callable[[float, float], float]]] = {
    ast.Add: ("+", 1, operator.add),
    ast.Sub: ("-", 1, operator.sub),
    ast.Mult: ("*", 2, operator.mul),
    ast.Div: ("/", 2, operator.truediv),
}
"""Sign, how tightly it binds, and what it computes."""
_UNARY, _ATOM = 3, 4
_DIGITS = 12  # of a number as it was written

# A text in quotes, or parts after dots, behind a name or a bracket; Python takes `by_class.3` for a name and a number,
# `by_class.class` for neither, and changes letters of names (NFKC).
_QUOTED_OR_PARTS = re.compile(r"""("[^"]*"|'[^']*')|((?<![\w.])[^\W\d]\w*|\])((?:\s*\.\s*\w+)+)""")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Finding:
    """What a rule finds in the scores of a run.

    Args:
        met: None where the run has not all the scores that the rule names.
        found: the rule with the numbers in it, or what is missing.
    """

    met: bool | None
    found: str


@dataclass(frozen=True)
class Rule:
    """A condition on scores; see the module.

    Args:
        text: as it was written.
        left, right: of the comparison.
        sign: between them.
    """

    text: str
    left: ast.expr
    right: ast.expr
    sign: type[ast.cmpop]

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """The rule that a text states.

        Raises:
            ValueError: it states none; the message says what is wrong, and gives an example.
        """
        try:
            compared = _parsed(text)
            if not isinstance(compared, ast.Compare) or len(compared.ops) != 1:
                raise ValueError("one comparison with <, <=, >, >= or == is expected")
            (sign,), (right,) = compared.ops, compared.comparators
            if type(sign) not in _COMPARISONS:
                raise ValueError("only <, <=, >, >= and == compare")
            rule = cls(" ".join(text.split()), compared.left, right, type(sign))
            for side in (rule.left, rule.right):
                _check(side)
            if not rule.names:
                raise ValueError("it names no score")
        except ValueError as error:
            raise ValueError(f"{_short(text)!r} is no condition: {error}; for example {EXAMPLE}") from None
        return rule

    @property
    def names(self) -> tuple[Name, ...]:
        """The scores that it needs, each once, in their order."""
        return tuple(dict.fromkeys([*_names(self.left), *_names(self.right)]))

    def judge(self, scores: Mapping[str, Any]) -> Finding:
        """What it finds in the scores of a run, nested as in metrics/evaluate.json.

        A comparison with what is no number (not-a-number, a division by zero) is not met.
        """
        for name in self.names:
            if score(scores, name) is None:
                return Finding(None, f"this run has no {dotted(name)}")
        sign, compare = _COMPARISONS[self.sign]
        left, right = _value(self.left, scores), _value(self.right, scores)
        met = compare(left, right)
        found = ""
        # With as many digits as it takes to see it: 0.6 <= 0.6 is not met where 0.60004 is compared with 0.6.
        for digits in (4, 6, 9, _DIGITS):
            sides = [_shown(side, value, scores, digits) for side, value in ((self.left, left), (self.right, right))]
            found = f" {sign} ".join(sides)
            if compare(*(float(f"{value:.{digits}g}") for value in (left, right))) == met:
                break
        return Finding(met, found)


def judged(scores: Mapping[str, Any], texts: Iterable[str]) -> list[dict[str, Any]]:
    """Each rule with what it finds, as metrics files hold it: {rule, found, met}; see `Finding`."""
    rules = [Rule.parse(text) for text in texts]
    return [{"rule": rule.text, **asdict(rule.judge(scores))} for rule in rules]


def parse_name(text: str) -> Name:
    """The name of one score.

    Raises:
        ValueError: it is none.
    """
    try:
        name = _name(_parsed(text))
    except ValueError as error:
        raise ValueError(f"{_short(text)!r} is no name of a score: {error}; for example fidelity.fd") from None
    if name is None:
        raise ValueError(f"{_short(text)!r} is no name of a score; for example fidelity.fd")
    return name


def dotted(name: Name) -> str:
    """The name as it is written."""
    first, *others = name
    return first + "".join(f".{part}" if _WORD.fullmatch(part) else f"[{_quoted(part)}]" for part in others)


def score(scores: Mapping[str, Any], name: Name) -> float | None:
    """The number of that name; None where a run has none."""
    found: Any = scores
    for part in name:
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    written = _QUOTED_OR_PARTS.sub(_for_python, " ".join(text.split()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("it can't be read") from None


def _for_python(match: re.Match[str]) -> str:
    """`by_class.3.fd` as Python reads it: `by_class["3"]["fd"]`; a backslash in quotes is one."""
    quoted, before, parts = match.groups()
    if quoted:
        return repr(quoted[1:-1])
    return before + "".join(f"[{part.strip()!r}]" for part in parts.split(".")[1:])


def _quoted(part: str) -> str:
    return f"'{part}'" if '"' in part else f'"{part}"'


def _check(side: ast.expr) -> None:
    """Refuse what is no arithmetic on scores and numbers."""
    match side:
        case ast.Constant(value=bool()):
            raise ValueError("True and False are no numbers")
        case ast.Constant(value=int() | float() as value):
            try:
                finite = math.isfinite(float(value))
            except OverflowError:
                finite = False
            if not finite:
                raise ValueError("a number is too large")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand)
        case ast.BinOp(op=sign):
            if type(sign) not in _ARITHMETIC:
                raise ValueError("only +, -, * and / compute")
            _check(side.left)
            _check(side.right)
        case _:
            if _name(side) is None:
                raise ValueError("it may hold names of scores, numbers, + - * / and parentheses, and nothing else")


def _name(node: ast.expr) -> Name | None:
    """The name that a node is; None where it is none."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=above, attr=part) | ast.Subscript(value=above, slice=ast.Constant(value=str(part))):
            before = _name(above)
            return (*before, part) if before else None
    return None


def _names(side: ast.expr) -> Iterator[Name]:
    if (name := _name(side)) is not None:
        yield name
    elif isinstance(side, ast.UnaryOp):
        yield from _names(side.operand)
    elif isinstance(side, ast.BinOp):
        yield from _names(side.left)
        yield from _names(side.right)


def _value(side: ast.expr, scores: Mapping[str, Any]) -> float:
    if (name := _name(side)) is not None:
        found = score(scores, name)
        assert found is not None
        return found
    match side:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, scores)
        case ast.BinOp(left=left, op=sign, right=right):
            compute = _ARITHMETIC[type(sign)][2]
            try:
                return compute(_value(left, scores), _value(right, scores))
            except ZeroDivisionError:
                return math.nan
    raise AssertionError(ast.dump(side))


def _shown(side: ast.expr, value: float, scores: Mapping[str, Any], digits: int) -> str:
    """A side with numbers for names, and what it comes to where it is more than one number."""
    text, binds = _written(side, scores, digits)
    if binds == _ATOM or text.removeprefix("-").replace(".", "").isdigit():
        return text
    return f"{text} = {'no number' if math.isnan(value) else f'{value:.{digits}g}'}"


def _written(side: ast.expr, scores: Mapping[str, Any], digits: int) -> tuple[str, int]:
    """The text of a side, and how tightly its outermost sign binds."""
    if _name(side) is not None:
        value = _value(side, scores)
        return f"{value:.{digits}g}", _ATOM if value >= 0 or math.isnan(value) else _UNARY
    match side:
        case ast.Constant(value=int() | float() as number):
            return f"{number:.{_DIGITS}g}", _ATOM
        case ast.UnaryOp(operand=operand):
            text, binds = _written(operand, scores, digits)
            return f"-{text if binds == _ATOM else f'({text})'}", _UNARY
        case ast.BinOp(left=left, op=sign, right=right):
            mark, own, _ = _ARITHMETIC[type(sign)]
            (before, left_binds), (after, right_binds) = (_written(each, scores, digits) for each in (left, right))
            before = before if left_binds >= own else f"({before})"
            # The right side of - and / is a unit, and so is a negative number after any sign.
            after = after if right_binds > own and right_binds != _UNARY else f"({after})"
            return f"{before} {mark} {after}", own
    raise AssertionError(ast.dump(side))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
