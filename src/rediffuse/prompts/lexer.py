"""A prompt as tokens, each with its place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rediffuse.prompts.errors import PromptError

Kind = Literal["word", "name", "flag", "(", ")", "{", "}", "|", ",", ":", "end"]

SIGNS = '(){}|,:"“”„'
"""Characters that end a word."""

DASHES = "-—–"
"""What a flag may begin with: telephones make a long dash of two short ones."""

# A word that begins with -- is a flag, whatever follows; one long dash is one before a letter only.
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    | "(?P<straight>(?:\\.|[^"\\])*)"
    | [“”„](?P<curly>(?:\\.|[^“”\\])*)[“”]
    | (?P<flag>(?:--|[—–](?=[^\W\d_]))[^\s{SIGNS}]*)
    | (?P<word>[^\s{SIGNS}]+)
    | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A token of a prompt.

    Args:
        kind: "name" is a text in quotes; a sign is its own kind.
        text: of a name what stands between the quotes, of a flag with two short dashes.
        start, end: its place, text[start:end].
    """

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def character(self) -> int:
        """Its place as people count, from 1."""
        return self.start + 1


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text and one of kind "end".

    Raises:
        PromptError: quotes that are not closed.
    """
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        match match.lastgroup:
            case "space":
                pass
            case "straight" | "curly" as group:
                yield Token("name", re.sub(r"\\(.)", r"\1", match[group], flags=re.DOTALL), start, end)
            case "flag":
                yield Token("flag", f"--{match[0].lstrip(DASHES)}", start, end)
            case "word":
                yield Token("word", match[0], start, end)
            case _ if match[0] in '"“”„':
                raise PromptError(f"the quotes {match[0]} at character {start + 1} are not closed")
            case _:
                yield Token(match[0], match[0], start, end)  # type: ignore[arg-type]
    yield Token("end", "", len(text), len(text))
