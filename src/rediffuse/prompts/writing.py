"""From terms to the one text that says them."""

import re
from collections.abc import Iterable, Sequence

from rediffuse.prompts.lexer import DASHES, SIGNS
from rediffuse.prompts.meaning import MOST_TERMS
from rediffuse.prompts.parser import GREATEST_WEIGHT, JOINTS
from rediffuse.prompts.terms import Term


def written(terms: Sequence[Term]) -> str:
    """The canonical prompt of one image: `understand(written(terms), v).variants == (terms,)`; "" for none.

    A name stands in quotes where anything in it could be read as a sign; what a model knows beside it makes no
    difference. (Only where the names are so long that the text is, too, it can't be read again.)

    Raises:
        ValueError: terms that no prompt asks for: a class twice, a weight of 0 or beyond 10, weights below 0 before
            others, more terms than an image may have.
    """
    signs = [term.weight > 0 for term in terms]
    if not all(0 < abs(term.weight) <= GREATEST_WEIGHT for term in terms):
        raise ValueError(f"weights above 0 and at most {GREATEST_WEIGHT:g}, or as far below 0, can be written")
    if signs != sorted(signs, reverse=True):
        raise ValueError("terms with weights above 0 stand before those with weights below 0")
    if len({term.label for term in terms}) < len(terms) or len(terms) > MOST_TERMS:
        raise ValueError(f"at most {MOST_TERMS} terms can be written, each of another class")
    towards = _joined(term for term in terms if term.weight > 0)
    away = _joined(term for term in terms if term.weight < 0)
    return " ".join(part for part in (towards, f"--no {away}" if away else "") if part)


def _joined(terms: Iterable[Term]) -> str:
    return " and ".join(_weighted(_name(term.label), abs(float(term.weight))) for term in terms)


def _weighted(name: str, weight: float) -> str:
    return name if weight == 1 else f"({name}:{repr(weight).removesuffix('.0')})"


def _name(label: str) -> str:
    words = label.split(" ")
    bare = label.isprintable() and all(
        word and not set(word) & set(SIGNS) and word[0] not in DASHES and word.casefold() not in JOINTS
        for word in words
    )
    if bare:
        return label
    escaped = re.sub(r'(["\\])', r"\\\1", label)
    return f'"{escaped}"'
