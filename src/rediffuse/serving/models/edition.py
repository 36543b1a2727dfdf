"""A model that never changes, and a place where another one may stand tomorrow."""

import errno
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.answers import Answers
from rediffuse.serving.package import CARD, REFERENCE, SETTINGS, WEIGHTS

PARTS = (WEIGHTS, SETTINGS, REFERENCE)


class Edition(Protocol):
    """One model, cheap to name and to compare: editions that are equal are the same files."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def version(self) -> str | None:
        """Of a registered model."""

    def fetch(self, folder: Path) -> None:
        """Put PARTS and CARD, as far as there are such, into an empty folder; nothing else, and no code.

        Raises:
            UserError: there is no model of rediffuse's.
            TryAgainError: the store does not answer.
            OSError: a file can't be read, or there is no room for it.
        """


@dataclass(frozen=True)
class Listing:
    """A version that may be asked for.

    Args:
        version: its number.
        aliases: that it has.
        created: milliseconds since 1970.
        name: of another model than the one that is served; None for a version of the same.
    """

    version: str
    aliases: tuple[str, ...]
    created: int
    name: str | None = None


class Source(Protocol):
    """Where a server looks for its model."""

    def newest(self) -> Edition:
        """What stands there now.

        Raises:
            UserError: nothing, and what stands there instead.
            TryAgainError: the store does not answer.
        """

    def listed(self) -> Sequence[Listing]:
        """The versions of the same registered model, newest first; none where it is no registered model.

        Raises:
            UserError, TryAgainError: as `newest`.
        """

    def at(self, listing: Listing) -> Edition:
        """One of these versions."""


def load(edition: Edition) -> Answers:
    """The model itself. No code that lies beside its weights is run.

    Raises:
        UserError: the files are damaged, or of something else.
        TryAgainError: the store does not answer, or memory runs out.
    """
    with tempfile.TemporaryDirectory(prefix="rediffuse-") as temporary:
        folder = Path(temporary)
        try:
            edition.fetch(folder)
        except OSError as error:
            # A file may have gone since somebody looked, belong to another user, or find no room for its copy.
            kind = TryAgainError if error.errno in (errno.ENOSPC, errno.EDQUOT) else UserError
            raise kind(f"{edition} can't be loaded ({_line(error, folder)})") from error
        missing = [name for name in (WEIGHTS, SETTINGS) if not (folder / name).exists()]
        if missing:
            raise UserError(f"{edition} is no model of rediffuse's: it has no {' and no '.join(missing)}")
        reference = folder / REFERENCE
        try:
            return Answers.load(
                folder / SETTINGS, folder / WEIGHTS, reference if reference.exists() else None, folder / CARD
            )
        except TryAgainError:
            raise
        except MemoryError:
            raise TryAgainError(f"{edition} does not fit into memory") from None
        except UserError as error:
            raise UserError(f"{edition}: {_line(error, folder)}") from None
        except Exception as error:
            # A file may hold anything: a description without a key, a network that is not known here.
            told = f"{type(error).__name__}: {_line(error, folder)}"
            raise UserError(f"{edition} is no model that this rediffuse can load ({told})") from error


def _line(error: Exception, folder: Path) -> str:
    """What it says, in one line that does not name a folder which is gone by then."""
    line = " ".join(str(error).replace(f"{folder}/", "").split())
    return line if len(line) <= 300 else f"{line[:300]}..."
