"""The classes behind the words of a sequence: each word is a class, true of every image, glue, or an error."""

from collections.abc import Iterator
from dataclasses import dataclass

from rediffuse.prompts.errors import PromptError, shown
from rediffuse.prompts.parser import Choice, Name, Segment, Sequence, Weighted, Word
from rediffuse.prompts.vocabulary import GLUE, Vocabulary

_FLAGS = {"no": "--no", "not": "--no", "without": "--no", "seed": "--seed"}
"""What people write where a flag is meant."""


@dataclass(frozen=True)
class Subject:
    """A class that is asked for at a character."""

    label: str
    character: int


@dataclass(frozen=True)
class Together:
    """All of these in one image."""

    subjects: "tuple[Node, ...]"


@dataclass(frozen=True)
class Either:
    """An image for each of these."""

    options: tuple[Together, ...]


@dataclass(frozen=True)
class Weighed:
    """Subjects with a weight."""

    subjects: Together
    weight: float
    character: int


Node = Subject | Together | Either | Weighed


def names_any(node: Node) -> bool:
    """Whether any class stands in it."""
    match node:
        case Subject():
            return True
        case Together(nodes) | Either(nodes):
            return any(map(names_any, nodes))
        case Weighed(subjects):
            return names_any(subjects)


def read(sequence: Sequence, text: str, vocabulary: Vocabulary) -> Together:
    """The classes of a sequence of the prompt `text`.

    Raises:
        PromptError: a word that is not known, or may be read in two ways; a weight of no class.
    """
    return Together(tuple(node for segment in sequence for node in _segment(segment, text, vocabulary)))


def _segment(segment: Segment, text: str, vocabulary: Vocabulary) -> Iterator[Node]:
    at = 0
    while at < len(segment):
        match segment[at]:
            case Word():
                used, label = _longest(segment, at, text, vocabulary)
                if label is not None:
                    yield label
                at += used
                continue
            case Name(name, start):
                yield _subject(name, start, vocabulary)
            case Weighted(sequence, weight, start):
                subjects = read(sequence, text, vocabulary)
                if not names_any(subjects):
                    raise PromptError(
                        f"the weight in the brackets at character {start + 1} is on no class; {vocabulary.known()}"
                    )
                yield Weighed(subjects, weight, start + 1)
            case Choice(options):
                yield Either(tuple(read(option, text, vocabulary) for option in options))
        at += 1


def _longest(segment: Segment, at: int, text: str, vocabulary: Vocabulary) -> tuple[int, Subject | None]:
    """How many words from here on are one name, and its class where it has one: as many as can be."""
    first = segment[at]
    assert isinstance(first, Word)
    words = [first]
    for item in segment[at + 1 : at + vocabulary.longest_from(first.text)]:
        if not isinstance(item, Word):
            break
        words.append(item)
    for count in range(len(words), 0, -1):
        name = text[first.start : words[count - 1].end]
        glue = count == 1 and name.casefold() in GLUE
        neutral = vocabulary.frames_all(name) or glue
        if not vocabulary.meant(name):
            if neutral:
                return count, None
            continue
        # An article stands before something: at the end "a" can only be the class of that name.
        last = at + count == len(segment)
        if neutral and count < len(segment) and not (glue and last):
            other = "a word between others" if glue else "true of each image"
            raise PromptError(
                f"{shown(name)} at character {first.start + 1} may be the class or {other}; "
                f'for the class write "{name}" in quotes, or take it out'
            )
        return count, _subject(name, first.start, vocabulary)
    raise _unknown(first.text, first.start, vocabulary)


def _subject(name: str, start: int, vocabulary: Vocabulary) -> Subject:
    labels = vocabulary.meant(name)
    if not labels:
        raise _unknown(name, start, vocabulary)
    if len(labels) > 1:
        which = " or ".join(map(shown, labels[:5]))
        raise PromptError(f"{shown(name)} at character {start + 1} may mean {which}; write the one that is meant")
    return Subject(labels[0], start + 1)


def _unknown(word: str, start: int, vocabulary: Vocabulary) -> PromptError:
    near = _FLAGS.get(word.lstrip("-").casefold()) or vocabulary.nearest(word)
    return PromptError(
        f"{shown(word)} at character {start + 1} is no word of this model; {vocabulary.known()}"
        + (f"; did you mean {shown(near)}?" if near else "")
    )
