"""The jobs of a server on its disk, each in a folder named by its id; what is accepted survives a power cut."""

import fcntl
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.serving.answers import Answers
from rediffuse.serving.jobs.folder import JOB, MANIFEST, begun_in, job_of
from rediffuse.serving.jobs.items import file_name
from rediffuse.serving.request import ImageRequest, parsed

_ACCEPTED, _ENDED, _OUT = "accepted.json", "ended.json", "out"
_ID = re.compile(r"[0-9a-f]{32}")
_NEW, _GONE = ".new-", ".gone-"


@dataclass(frozen=True)
class Accepted:
    """A job that was accepted.

    Args:
        id: 32 hex digits.
        number: jobs are drawn in its order.
        name, version: of the served model that it was accepted with.
        model: its identity.
        counts: images of each row.
    """

    id: str
    number: int
    name: str
    version: str | None
    model: str
    counts: tuple[int, ...]

    @property
    def images(self) -> int:
        """In all."""
        return sum(self.counts)

    def file(self, number: int) -> str | None:
        """The file of image `number`, counted through all rows; None: there is no such image."""
        for row, count in enumerate(self.counts):
            if number < count:
                return file_name(row, number)
            number -= count
        return None


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Args:
        error: one line, of a failed one.
    """

    state: Literal["done", "failed", "cancelled"]
    error: str | None = None


class JobStore:
    """The folder of all jobs; this process alone uses it, from `open` to `close`.

    Args:
        root: of the folder; it need not be there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    def open(self) -> list[Accepted]:
        """The jobs that are there, in the order in which they were accepted.

        Raises:
            UserError: another server uses the folder, or it holds what can't be read.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            files.fsync_directory(self.root.parent)
            self._lock = os.open(self.root, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for entry in self.root.iterdir():
                if entry.name.startswith((_NEW, _GONE)):
                    shutil.rmtree(entry)
        except BlockingIOError:
            self.close()
            raise UserError(
                f"{self.root} is in use by another server; give each a folder of its own (--jobs)"
            ) from None
        except OSError as error:
            self.close()
            raise UserError(f"{self.root} can't hold jobs: {error.strerror}") from None
        found = [self._read(entry) for entry in self.root.iterdir() if _ID.fullmatch(entry.name)]
        return sorted(found, key=lambda job: job.number)

    def close(self) -> None:
        """Leave the folder to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def add(self, job: Accepted, requests: Sequence[ImageRequest], answers: Answers) -> None:
        """Keep a job; when this returns, a power cut does not lose it."""
        new = self.root / f"{_NEW}{job.id}"
        try:
            files.write_json(new / _OUT / JOB, job_of(requests, answers))
            files.write_json(new / _ACCEPTED, asdict(job))
            files.fsync_directory(new)
            new.rename(self.root / job.id)
            files.fsync_directory(self.root)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def requests(self, job: Accepted) -> list[ImageRequest]:
        """Its rows.

        Raises:
            UserError: they are gone.
        """
        begun = begun_in(self.out(job))
        if begun is None:
            raise UserError(f"the rows of this job are gone: there is no {JOB}")
        return [parsed(row) for row in begun["rows"]]

    def out(self, job: Accepted) -> Path:
        """The folder of its images, as `folder.opened` takes it."""
        return self.root / job.id / _OUT

    def image(self, job: Accepted, number: int) -> bytes | None:
        """The file of an image; None: it is not there, or not yet."""
        file = job.file(number)
        return None if file is None else _content(self.out(job) / file)

    def manifest(self, job: Accepted) -> bytes | None:
        """The manifest as it is so far; None: there is none yet."""
        return _content(self.out(job) / MANIFEST)

    def drawn(self, job: Accepted) -> int:
        """Images that are there, whole or not."""
        with suppress(FileNotFoundError):
            return sum(each.suffix == ".png" and each.name[0] != "." for each in self.out(job).iterdir())
        return 0

    def end(self, job: Accepted, ended: Ended) -> None:
        """Note how it ended."""
        files.write_json(self.root / job.id / _ENDED, asdict(ended))

    def ended(self, job: Accepted) -> Ended | None:
        """How it ended; None: it did not.

        Raises:
            UserError: what says so can't be read.
        """
        path = self.root / job.id / _ENDED
        try:
            return Ended(**files.read_json(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path} can't be read ({error}); remove it, and the job is gone on with") from None

    def remove(self, job: Accepted) -> None:
        """Remove its folder: at once for all who look, then file by file."""
        gone = self.root / f"{_GONE}{job.id}"
        # It may have been, and the disk have refused what comes after.
        with suppress(FileNotFoundError):
            (self.root / job.id).rename(gone)
        files.fsync_directory(self.root)
        shutil.rmtree(gone, ignore_errors=True)

    def _read(self, folder: Path) -> Accepted:
        try:
            told: dict[str, Any] = files.read_json(folder / _ACCEPTED)
            return Accepted(**(told | {"counts": tuple(told["counts"])}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{folder} holds no job that can be read ({error}); remove it, or mend it") from None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
