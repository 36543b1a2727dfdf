"""Two makings of the same stages, side by side: the first out that differs, and what explains it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rediffuse.provenance.environment import differences

CODE = ("src/", "stages/")
"""What the path of a dependency that is code begins with."""

_DIGITS = 12
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Making:
    """What one stage wrote, and of what.

    Args:
        outs: path -> MD5.
        deps: path -> MD5; empty where nothing is known of them.
        params: dotted name -> value, of those that the stage lists.
        environment: field -> value; None where no record of it is left.
        key: of the code of the whole project, where nothing is known of `deps`; None where that can't be compared.
    """

    outs: Mapping[str, str]
    deps: Mapping[str, str]
    params: Mapping[str, Any]
    environment: Mapping[str, str] | None
    key: str | None = None

    @property
    def coarse(self) -> bool:
        """Whether no more is known of code and data than the key."""
        return not self.deps


@dataclass(frozen=True)
class Verdict:
    """The answer, and whether all is the same."""

    same: bool
    lines: tuple[str, ...]


def compare(here: Mapping[str, Making], there: Mapping[str, Making], order: Sequence[str]) -> Verdict:
    """Compare stage by stage.

    Args:
        here, there: stage -> what it made.
        order: the stages of both, each behind those it reads from; so the first that differs is the cause of the rest.
    """
    for stage in order:
        if stage not in here or stage not in there:
            return Verdict(False, (f"{stage}: it has no outs {'there' if stage in here else 'here'}",))
        mine, theirs = here[stage], there[stage]
        differing = sorted(path for path in mine.outs.keys() | theirs.outs.keys() if _differ(path, mine, theirs))
        if differing:
            more = f", and {len(differing) - 1} more of its outs" if len(differing) > 1 else ""
            first = differing[0]
            digests = f"{_digest(mine.outs, first)} here, {_digest(theirs.outs, first)} there"
            return Verdict(False, (f"{stage}: {first} differs ({digests}){more}", *_explanation(mine, theirs)))
    outs = sum(len(here[stage].outs) for stage in order)
    return Verdict(True, (f"same: {_counted(outs, 'out')} of {_counted(len(order), 'stage')}",))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _differ(path: str, mine: Making, theirs: Making) -> bool:
    return mine.outs.get(path) != theirs.outs.get(path)


def _explanation(mine: Making, theirs: Making) -> Iterator[str]:
    """What differs before the stage began, where it ran, and at last what is known of the code as a whole."""
    coarse = mine.coarse or theirs.coarse
    inputs = [*([] if coarse else _differing_deps(mine, theirs)), *_differing_params(mine, theirs)]
    if inputs:
        more = f" and {len(inputs) - _NAMED} more" if len(inputs) > _NAMED else ""
        yield f"its inputs differ already: {', '.join(inputs[:_NAMED])}{more}"
    else:
        yield f"its {'parameters' if coarse else 'inputs'} are the same"
    lost = [name for name, making in (("here", mine), ("there", theirs)) if making.environment is None]
    fields = differences(mine.environment or {}, theirs.environment or {})
    if not lost and fields:
        yield f"the environment differs: {'; '.join(fields)}"
    elif not inputs and lost:
        yield (
            f"no record is left of the environment {' and '.join(lost)}: another kind of CPU or GPU, number of threads "
            "or version of torch would explain it"
        )
    code = _code_as_a_whole(mine, theirs) if coarse else None
    if code:
        yield code
    elif not (inputs or lost or fields):
        data = "; other raw data would, and else" if coarse else ":"
        yield f"nothing in the environment explains it{data} this is a bug, please report it"


def _code_as_a_whole(mine: Making, theirs: Making) -> str | None:
    """What the two keys say; None where they are equal."""
    if mine.key is None or theirs.key is None:
        return "the code can't be compared: code or parameters here are no longer those of one side"
    return None if mine.key == theirs.key else "the code of the whole project differs (a coarse key)"


def _differing_deps(mine: Making, theirs: Making) -> Iterator[str]:
    for path in sorted(mine.deps.keys() | theirs.deps.keys()):
        if mine.deps.get(path) != theirs.deps.get(path):
            yield f"{path} ({'code' if path.startswith(CODE) else 'data'})"


def _differing_params(mine: Making, theirs: Making) -> Iterator[str]:
    for name in sorted(mine.params.keys() | theirs.params.keys()):
        if mine.params.get(name) != theirs.params.get(name):
            yield f"{name} ({mine.params.get(name)} here, {theirs.params.get(name)} there)"


def _digest(outs: Mapping[str, str], path: str) -> str:
    return f"{outs[path][:_DIGITS]}…" if path in outs else "none"
