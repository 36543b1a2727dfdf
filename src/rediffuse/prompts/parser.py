"""A prompt as a tree, with no word understood yet.

prompt   = sequence ("," sequence)* flag*
flag     = "--no" sequence ("," sequence)* | "--seed" whole number
sequence = item* ("and" item*)*
item     = word | "name" | "(" sequence ":" weight ")" | "{" sequence ("|" sequence)* "}"
"""

import difflib
import re
from dataclasses import dataclass, field

from rediffuse.prompts.errors import PromptError, shown
from rediffuse.prompts.lexer import Token, tokens

LONGEST = 2000
"""Characters of a prompt, at most."""

DEEPEST = 8
"""Brackets and braces in one another, at most."""

GREATEST_WEIGHT = 10.0

SEEDS = (-(2**63), 2**63 - 1)
"""The least and the greatest seed."""

JOINTS = frozenset({"and", "&", "+"})
"""What stands between two subjects: no name is looked for across it."""

_FLAGS = ("--no", "--seed")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True)
class Word:
    """A word as it stands in the text, text[start:end]."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Name:
    """A text in quotes."""

    text: str
    start: int


@dataclass(frozen=True)
class Weighted:
    """A sequence with a weight."""

    sequence: "Sequence"
    weight: float
    start: int


@dataclass(frozen=True)
class Choice:
    """Alternatives."""

    options: tuple["Sequence", ...]
    start: int


Item = Word | Name | Weighted | Choice
Segment = tuple[Item, ...]
"""What stands between two joints."""
Sequence = tuple[Segment, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Args:
        text: the whole.
        parts: what stands between its commas.
        negative: what stands between the commas after --no; None without it.
        negative_at: the character where --no stands.
        seed: after --seed; None without it.
    """

    text: str
    parts: tuple[Sequence, ...]
    negative: tuple[Sequence, ...] | None
    negative_at: int
    seed: int | None


def parse(text: str) -> Prompt:
    """The tree of a prompt.

    Raises:
        PromptError: it is too long or too deep, or its signs and flags make no sense.
    """
    if len(text) > LONGEST:
        raise PromptError(f"the prompt has {len(text)} characters; at most {LONGEST} are read")
    return _Parser(list(tokens(text))).prompt(text)


@dataclass
class _Parser:
    tokens: list[Token]
    at: int = 0
    flags: dict[str, int] = field(default_factory=dict)

    def peek(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def prompt(self, text: str) -> Prompt:
        parts = self.parts()
        negative, seed = None, None
        while self.peek().kind == "flag":
            if self.flag() == "--no":
                negative = self.parts()
            else:
                seed = self.seed()
        return Prompt(text, parts, negative, self.flags.get("--no", 0), seed)

    def parts(self) -> tuple[Sequence, ...]:
        """Sequences between commas, up to a flag or the end."""
        found = [self.sequence(0)]
        while self.peek().kind == ",":
            self.take()
            found.append(self.sequence(0))
        stray = self.peek()
        if stray.kind in (")", "}"):
            raise PromptError(
                f"'{stray.kind}' at character {stray.character} closes nothing; a sign of a name stands "
                'in quotes, as in ":)"'
            )
        if stray.kind == "|":
            raise PromptError(f"'|' at character {stray.character} stands outside braces; alternatives are {{3|5}}")
        if stray.kind == ":":
            raise PromptError(f"':' at character {stray.character} stands outside brackets; a weight is (3:1.3)")
        return tuple(found)

    def flag(self) -> str:
        token = self.take()
        if token.text not in _FLAGS:
            near = difflib.get_close_matches(token.text, _FLAGS, 1)
            raise PromptError(
                f"{shown(token.text)} at character {token.character} is no flag; the flags are {' and '.join(_FLAGS)}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        if token.text in self.flags:
            places = f"{self.flags[token.text]} and {token.character}"
            raise PromptError(f"{token.text} stands twice, at characters {places}; keep one")
        self.flags[token.text] = token.character
        return token.text

    def seed(self) -> int:
        flag, token = self.flags["--seed"], self.take()
        if token.kind != "word" or not _WHOLE_NUMBER.fullmatch(token.text):
            found = "nothing" if token.kind == "end" else shown(token.text)
            raise PromptError(f"--seed at character {flag} needs a whole number behind it, not {found}")
        if not SEEDS[0] <= int(token.text) <= SEEDS[1]:
            raise PromptError(
                f"--seed at character {flag} is {shown(token.text)[1:-1]}; {SEEDS[0]} to {SEEDS[1]} is allowed"
            )
        after = self.peek()
        if after.kind not in ("flag", "end"):
            raise PromptError(
                f"{shown(after.text)} at character {after.character} stands after --seed {token.text}; "
                "what is drawn stands before the flags"
            )
        return int(token.text)

    def sequence(self, depth: int) -> Sequence:
        """Items up to a sign that is none of theirs."""
        segments: list[list[Item]] = [[]]
        joints = []
        while self.peek().kind in ("word", "name", "(", "{"):
            token = self.peek()
            if token.kind in ("(", "{"):
                if depth == DEEPEST:
                    raise PromptError(
                        f"'{token.kind}' at character {token.character} stands {depth + 1} deep; {DEEPEST} are allowed"
                    )
                segments[-1].append(self.weighted(depth + 1) if token.kind == "(" else self.choice(depth + 1))
                continue
            self.take()
            if token.kind == "name":
                segments[-1].append(Name(token.text, token.start))
            elif token.text.casefold() in JOINTS:
                joints.append(Word(token.text, token.start, token.end))
                segments.append([])
            else:
                segments[-1].append(Word(token.text, token.start, token.end))
        found = tuple(tuple(segment) for segment in segments if segment)
        # Nothing to join: it can only be a name.
        return found if found or len(joints) != 1 else ((joints[0],),)

    def weighted(self, depth: int) -> Weighted:
        opening = self.take()
        sequence = self.sequence(depth)
        if self.peek().kind == ",":
            raise PromptError(
                f"',' at character {self.peek().character} stands inside brackets; each has its own, as in "
                "(3:1.3), (5:1.3), and a weight has a point, as in 1.3"
            )
        if self.peek().kind == ")":
            raise PromptError(f"the brackets at character {opening.character} have no weight; write (3:1.3)")
        if self.peek().kind != ":":
            raise _not_closed(opening, self.peek())
        self.take()
        weight = self.weight()
        if self.peek().kind != ")":
            if self.peek().kind == ",":
                raise PromptError(
                    f"',' at character {self.peek().character} stands inside brackets; a weight has a point, as in 1.3"
                )
            raise _not_closed(opening, self.peek())
        self.take()
        return Weighted(sequence, weight, opening.start)

    def weight(self) -> float:
        token = self.peek()
        if token.kind != "word" or not _NUMBER.fullmatch(token.text):
            found = "nothing" if token.kind in (")", "end") else shown(token.text)
            raise PromptError(f"the weight at character {token.character} is {found}; a number as in (3:1.3) is needed")
        self.take()
        weight = float(token.text)
        if not 0 < weight <= GREATEST_WEIGHT:
            raise PromptError(weight_refused(token.text, token.character))
        return weight

    def choice(self, depth: int) -> Choice:
        opening = self.take()
        options = [self.sequence(depth)]
        while self.peek().kind == "|":
            self.take()
            options.append(self.sequence(depth))
        if self.peek().kind == ",":
            raise PromptError(
                f"',' at character {self.peek().character} stands inside braces; alternatives are {{3|5}}"
            )
        if self.peek().kind == ":":
            raise PromptError(
                f"':' at character {self.peek().character} stands outside brackets; a weight is (3:1.3), "
                "among alternatives {(3:1.3)|5}"
            )
        if self.peek().kind != "}":
            raise _not_closed(opening, self.peek())
        self.take()
        if options == [()]:
            raise PromptError(f"the braces at character {opening.character} are empty; alternatives are {{3|5}}")
        return Choice(tuple(options), opening.start)


def weight_refused(weight: object, character: int) -> str:
    """What is said of a weight that is too small or too great."""
    return (
        f"the weight at character {character} is {shown(str(weight))[1:-1]}; above 0 and at most {GREATEST_WEIGHT:g} "
        "is allowed, and --no leads away from a class"
    )


def _not_closed(opening: Token, found: Token) -> PromptError:
    what = "brackets" if opening.kind == "(" else "braces"
    there = "" if found.kind == "end" else f" before {shown(found.text)} at character {found.character}"
    return PromptError(f"the {what} at character {opening.character} are not closed{there}")
