"""The forms in which people write one name: its case, its hyphens, its parts, its number, one of it and many."""

import re
import unicodedata
from collections.abc import Iterator

from rediffuse.prompts.numerals import GREATEST, in_words

_IRREGULAR = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "man": "men",
    "mouse": "mice",
    "person": "people",
    "tooth": "teeth",
    "woman": "women",
}
_SINGULAR = {many: one for one, many in _IRREGULAR.items()}
_SPACES = re.compile(r"[\s_\-\u2010\u2011]+")
_BETWEEN_PARTS = re.compile(r"\s*[/,;|]\s*|\s+[-–—]\s+")


def folded(text: str) -> str:
    """The text by which names are compared: without case, with a space for spaces, hyphens and underscores."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # A name of nothing but hyphens stays one.
    return _SPACES.sub(" ", plain).strip() or plain.strip()


def parts(name: str) -> list[str]:
    """What a name offers to choose from: "T-shirt/top", "7 - seven" and "tench, Tinca tinca" offer two each."""
    found = [part for part in _BETWEEN_PARTS.split(name) if part.strip()]
    return found if len(found) > 1 else []


def numerals(name: str) -> list[str]:
    """A whole number without leading zeros, and in words; nothing for another name."""
    if not re.fullmatch("[0-9]{1,9}", name) or int(name) > GREATEST:
        return []
    return [str(int(name)), in_words(int(name)), in_words(int(name), " and ")]


def inflected(form: str) -> Iterator[str]:
    """The plurals of a folded form, and its singular where it may be a plural itself."""
    before, _, last = form.rpartition(" ")
    lead = f"{before} " if before else ""
    if not last[-1:].isalnum():
        return
    for table in (_IRREGULAR, _SINGULAR):
        if last in table:
            yield lead + table[last]
    if re.search("[^aeiou]y$", last):
        yield f"{lead}{last[:-1]}ies"
    elif re.search("(s|x|z|ch|sh)$", last):
        yield f"{lead}{last}es"
    else:
        yield f"{lead}{last}s"
    if last.endswith("o"):
        yield f"{lead}{last}es"
    if re.search("fe?$", last):
        yield f"{lead}{last.rstrip('e')[:-1]}ves"
    if re.search("[^s]s$", last) and len(last) > 3:
        yield f"{lead}{last[:-1]}"
