"""From a text to the images that it asks for."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rediffuse.prompts.errors import PromptError, shown
from rediffuse.prompts.parser import GREATEST_WEIGHT, Prompt, parse, weight_refused
from rediffuse.prompts.reading import Either, Node, Subject, Together, Weighed, names_any, read
from rediffuse.prompts.terms import Term
from rediffuse.prompts.vocabulary import Vocabulary

MOST_VARIANTS = 256
"""Images that one prompt may ask for."""

MOST_TERMS = 32
"""Classes of one image: each is an evaluation of the network at each step."""


@dataclass(frozen=True)
class Understood:
    """What a prompt means.

    Args:
        variants: the terms of each image of the grid in reading order, what it is drawn towards before what it is drawn
            away from; at least one, and () is a model that is told nothing.
        seed: after --seed; None without it.
    """

    variants: tuple[tuple[Term, ...], ...]
    seed: int | None


@dataclass(frozen=True)
class _Mention:
    """A class in one image, and the characters where it and the brackets around it stand."""

    label: str
    weight: float
    character: int
    brackets: int | None = None


def understand(text: str, vocabulary: Vocabulary) -> Understood:
    """What a prompt means to a model of classes.

    Raises:
        PromptError: it has no meaning, or more than one.
    """
    prompt = parse(text)
    parts = _parts(prompt, vocabulary)
    refused = _refused(prompt, vocabulary)
    count = sum(map(_count, parts)) * _count(refused)
    if count > MOST_VARIANTS:
        many = count if count <= 1_000_000 else "more than 1000000"
        raise PromptError(f"the prompt asks for {many} images; at most {MOST_VARIANTS} are allowed")
    away = [tuple(replace(mention, weight=-mention.weight) for mention in each) for each in _expanded(refused)]
    drawn = [towards for part in parts for towards in _expanded(part)]
    return Understood(tuple(_terms(towards + each) for towards in drawn for each in away), prompt.seed)


def _parts(prompt: Prompt, vocabulary: Vocabulary) -> list[Together]:
    """The parts that are images, at least one: a part without a class belongs to the one before it, or to the first."""
    grouped: list[Together] = []
    for sequence in prompt.parts:
        part = read(sequence, prompt.text, vocabulary)
        if grouped and not (names_any(part) and names_any(grouped[-1])):
            grouped[-1] = Together((*grouped[-1].subjects, *part.subjects))
        else:
            grouped.append(part)
    return grouped


def _refused(prompt: Prompt, vocabulary: Vocabulary) -> Together:
    """What all images are drawn away from: after --no, a comma is an "and"."""
    if prompt.negative is None:
        return Together(())
    refused = Together(tuple(read(sequence, prompt.text, vocabulary) for sequence in prompt.negative))
    if not names_any(refused):
        raise PromptError(f"--no at character {prompt.negative_at} has no class behind it; {vocabulary.known()}")
    return refused


def _count(node: Node) -> int:
    """How many variants there are, before any is made."""
    match node:
        case Subject():
            return 1
        case Together(nodes):
            return math.prod(map(_count, nodes))
        case Either(options):
            return sum(map(_count, options))
        case Weighed(subjects):
            return _count(subjects)


def _expanded(node: Node) -> list[tuple[_Mention, ...]]:
    """The variants, the first braces the slowest."""
    match node:
        case Subject(label, character):
            return [(_Mention(label, 1.0, character),)]
        case Together(nodes):
            return [tuple(itertools.chain(*each)) for each in itertools.product(*map(_expanded, nodes))]
        case Either(options):
            return [each for option in options for each in _expanded(option)]
        case Weighed(subjects, weight, character):
            return [tuple(_heavier(mention, weight, character) for mention in each) for each in _expanded(subjects)]


def _heavier(mention: _Mention, weight: float, character: int) -> _Mention:
    return replace(mention, weight=mention.weight * weight, brackets=mention.brackets or character)


def _terms(mentions: Iterable[_Mention]) -> tuple[Term, ...]:
    """The terms of one image."""
    seen: dict[str, _Mention] = {}
    for mention in mentions:
        # Brackets within brackets multiply.
        if not 0 < abs(mention.weight) <= GREATEST_WEIGHT:
            raise PromptError(weight_refused(f"{abs(mention.weight):g}", mention.brackets or mention.character))
        before = seen.setdefault(mention.label, mention)
        if before is not mention:
            raise PromptError(_twice(before, mention))
    if len(seen) > MOST_TERMS:
        raise PromptError(f"an image of {len(seen)} classes is asked for; at most {MOST_TERMS} are allowed")
    return tuple(Term(mention.label, mention.weight) for mention in seen.values())


def _twice(one: _Mention, other: _Mention) -> str:
    name = shown(one.label)
    if one.weight * other.weight < 0:
        return f"{name} at character {one.character} stands after --no, too, at character {other.character}; keep one"
    return (
        f"{name} stands twice in one image, at characters {one.character} and {other.character}; "
        f"keep one, with a weight as in (3:2) for more of it"
    )
