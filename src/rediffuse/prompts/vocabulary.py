"""The words that a model knows: its classes by all their names, and what is true of each of its images."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rediffuse.prompts.errors import listed, shown
from rediffuse.prompts.forms import folded, inflected, numerals, parts
from rediffuse.prompts.parser import JOINTS

GLUE = frozenset({"a", "an", "the", "of", "with"})
"""Words between others that change nothing."""

Names = dict[str, dict[str, str]]
"""By the folded form: each class that it may mean, with the form as it is written."""


def check_words(synonyms: Mapping[str, Iterable[str]], frames: Iterable[str]) -> None:
    """Look whether each word of the section `prompts` means one thing.

    Raises:
        ValueError: it does not; the message names the key of params.yaml.
    """
    meanings: dict[str, str] = {}
    for label, words in synonyms.items():
        for word in words:
            form = _sound(f"prompts.synonyms.{label}", word)
            if meanings.setdefault(form, label) != label:
                raise ValueError(
                    f"prompts.synonyms has {shown(word)} for {shown(meanings[form])} and for {shown(label)}; "
                    "a word may mean one class"
                )
    for word in frames:
        form = _sound("prompts.frames", word)
        if form in meanings:
            raise ValueError(
                f"prompts.frames has {shown(word)}, which prompts.synonyms has for {shown(meanings[form])}; keep one"
            )


def _sound(key: str, word: str) -> str:
    """The folded form of a word that can be one."""
    form = folded(word)
    if not form:
        raise ValueError(f"{key} has an empty word")
    if form in GLUE | JOINTS:
        raise ValueError(f"{key} has {shown(word)}, which only joins other words; take it out")
    return form


@dataclass(frozen=True)
class Vocabulary:
    """What a model understands.

    Args:
        classes: its classes.
        synonyms: other words for some of them, by class.
        frames: words that are true of each of its images.

    Raises:
        ValueError: a synonym of no class, or of two, or that is another class; an empty word.
    """

    classes: tuple[str, ...]
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frames: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_words(self.synonyms, self.frames)
        names = {folded(label): label for label in self.classes}
        for label, words in self.synonyms.items():
            if label not in self.classes:
                known = f"the classes are {listed(self.classes)}" if self.classes else "this model has no classes"
                raise ValueError(f"prompts.synonyms names the class {shown(label)}; {known}")
            for word in words:
                other = names.get(folded(word), label)
                if folded(other) != folded(label):
                    raise ValueError(
                        f"prompts.synonyms has {shown(word)} for {shown(label)}, but it is the class {shown(other)}"
                    )

    def meant(self, text: str) -> tuple[str, ...]:
        """The classes that a text may mean: none, one, or more where it is ambiguous.

        A class's own name as it is written goes before its name in other letters, that before the synonyms, those
        before the parts of a name and the words of a number, and those before plurals.
        """
        if text in self._exact:
            return (text,)
        form = folded(text)
        return next((tuple(names[form]) for names in self._levels if form in names), ())

    def frames_all(self, text: str) -> bool:
        """Whether a text is true of each image."""
        return folded(text) in self._frames

    def longest_from(self, word: str) -> int:
        """Words of the longest name that begins with this one; at least 1."""
        first = folded(word).split()
        return self._longest.get(first[0], 1) if first else 1

    def known(self) -> str:
        """What is known, as a clause; of very many classes the first ones."""
        names = []
        for label in self.classes:
            words = self.synonyms.get(label)
            names.append(f"{label} ({', '.join(words)})" if words else label)
        classes = f"its classes are {listed(names)}" if names else "it has no classes"
        return classes + (f", and words for any of its images are {listed(self.frames)}" if self.frames else "")

    def nearest(self, text: str) -> str | None:
        """The known word that is most like a text; None where none is."""
        form = folded(text)
        spelled = {form: next(iter(names[form].values())) for names in reversed(self._levels[:-1]) for form in names}
        spelled |= {folded(word): word for word in self.frames}
        near = difflib.get_close_matches(form, spelled, 1)
        longer = [other for other in spelled if form in other.split()]
        return next((spelled[other] for other in [*near, *longer]), None)

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(self.classes)

    @cached_property
    def _levels(self) -> tuple[Names, ...]:
        """Folded forms, the ones that go before others first."""
        own: Names = {}
        given: Names = {}
        derived: Names = {}
        for label in self.classes:
            _add(own, label, label)
            for word in self.synonyms.get(label, ()):
                _add(given, word, label)
            for part in parts(label):
                _add(derived, part, label)
            for name in (label, *parts(label)):
                for numeral in numerals(name):
                    _add(derived, numeral, label)
        plural: Names = {}
        for names in (own, given, derived):
            for form, labels in names.items():
                for other in inflected(form):
                    for label in labels:
                        _add(plural, other, label)
        return own, given, derived, plural

    @cached_property
    def _frames(self) -> frozenset[str]:
        forms = [folded(word) for word in self.frames]
        return frozenset(forms).union(*map(inflected, forms))

    @cached_property
    def _longest(self) -> dict[str, int]:
        found: dict[str, int] = {}
        spelled = [form for names in self._levels for labels in names.values() for form in labels.values()]
        for form in [*spelled, *self.frames, *self._frames, *self.classes]:
            plain, words = folded(form).split(), form.split()
            for first in [*plain[:1], *folded(words[0] if words else "").split()[:1]]:
                found[first] = max(found.get(first, 1), len(plain), len(words))
        return found


def _add(names: Names, form: str, label: str) -> None:
    names.setdefault(folded(form), {}).setdefault(label, form)
