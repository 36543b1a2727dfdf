"""What MLflow has not been told yet: a folder for each stage that ran, in the order in which they began.

A journal lies in `.pipeline/journal/<time>-<key>/` of the workspace's home: `records.jsonl` (only ever appended to),
`files/` (copies of what becomes artifacts) and `mirror.json` (how much of it MLflow has). It is removed once MLflow has
all of it, so what lies there is what MLflow lacks. One process holds a journal at a time: the stage that writes it and,
when that is gone, whoever delivers it. The kernel frees it when its process dies.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rediffuse.tracking.records import Artifact, Record, Registration, Told, decode, encode
from rediffuse.workspace import Workspace

_KEY_DIGITS = 16
_TIME = "%Y%m%dT%H%M%S.%f"


class Line(NamedTuple):
    """A line of a journal: what it tells (None: it can't be read), and where it and the next one begin, in bytes."""

    told: Told | None
    start: int
    end: int


class Journal:
    """What one stage told, held by this process.

    Args:
        folder: of the journal.
        hold: descriptor of the folder with the lock on it.
    """

    def __init__(self, folder: Path, hold: int) -> None:
        self.folder = folder
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._records = os.open(folder / "records.jsonl", flags, 0o644)
        self._open = [self._records, hold]
        self._torn = False
        self.sent, self.run_id, self.late = _mirrored(folder)

    @classmethod
    def begin(cls, workspace: Workspace, key: str) -> "Journal":
        """A new journal, newer than all that are there.

        Raises:
            OSError: it can't be written.
        """
        with _listed(workspace) as parent:
            folder = parent / f"{_next(waiting(workspace)).strftime(_TIME)}-{key[:_KEY_DIGITS]}"
            folder.mkdir()
            journal = cls.hold(folder)
            if journal is None:
                raise FileExistsError(f"another process holds {folder}")
            # Beside the lock of whoever holds it: see `is_written`.
            fcntl.flock(journal._records, fcntl.LOCK_SH)
            return journal

    @classmethod
    def hold(cls, folder: Path) -> "Journal | None":
        """The journal in this folder, or None where another process holds it or it is gone."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(folder, descriptor)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError | FileNotFoundError):  # held, or removed just now
                return None
            raise

    def append(self, record: Record) -> None:
        """Add a record, told now.

        Raises:
            OSError: the disk is full, say; what was written of the line is skipped by the readers.
        """
        line = encode(Told(int(time.time() * 1000), record))
        # A line that was cut short has no end: begin on a new one.
        line = b"\n" + line if self._torn else line
        self._torn = True
        if os.write(self._records, line) != len(line):
            raise OSError("the disk is full")
        self._torn = False

    def keep(self, name: str, content: bytes | Path) -> str:
        """Copy bytes or a file into the journal, as an artifact of this name; its path there is returned."""
        path = self._place() / name
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        return path.relative_to(self.folder).as_posix()

    def make(self, name: str, write: Callable[[Path], None]) -> str:
        """Let a folder of this name be written in the journal; its path there is returned.

        Raises:
            Exception: what `write` raises; nothing is left of it.
        """
        path = self._place() / name
        try:
            write(path)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        return path.relative_to(self.folder).as_posix()

    def _place(self) -> Path:
        """A new folder: a later artifact of the same name is another one."""
        place = self.folder / "files" / str(time.time_ns())
        place.mkdir(parents=True)
        return place

    def unsent(self) -> Iterator[Line]:
        """The whole lines that MLflow has not; the last one may be in the making, or cut short by a kill."""
        with (self.folder / "records.jsonl").open("rb") as file:
            file.seek(self.sent)
            start = self.sent
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end = start + len(line)
                yield Line(decode(line), start, end)
                start = end

    def put_off(self) -> Iterator[Line]:
        """The lines before those that `note_sent` was told to try again."""
        for start in self.late:
            with (self.folder / "records.jsonl").open("rb") as file:
                file.seek(start)
                line = file.readline()
            yield Line(decode(line), start, start + len(line))

    def note_sent(self, end: int, run_id: str | None, late: Sequence[int] = ()) -> None:
        """MLflow has all up to this byte, in this run, but the lines that begin at `late`.

        Told again, it would change nothing: so no fsync, no error.
        """
        self.sent, self.run_id, self.late = end, run_id, tuple(late)
        mirror = self.folder / "mirror.json"
        temporary = mirror.with_suffix(".new")
        with suppress(OSError):
            temporary.write_text(json.dumps({"sent": end, "run_id": run_id, "late": self.late}))
            temporary.replace(mirror)

    def forget_file(self, record: Record) -> None:
        """Delete the copy that a record tells of: MLflow has it."""
        if isinstance(record, Artifact | Registration):
            shutil.rmtree((self.folder / record.file).parent, ignore_errors=True)

    def release(self) -> None:
        """Let another process hold it."""
        while self._open:
            os.close(self._open.pop())

    def remove(self) -> None:
        """Delete it and release it."""
        # First: what is left after a kill in between is empty, not told twice.
        with suppress(OSError):
            (self.folder / "records.jsonl").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()


def waiting(workspace: Workspace, key: str | None = None) -> list[Path]:
    """The folders of the journals (of a key), oldest first."""
    with suppress(FileNotFoundError):
        names = sorted(path for path in workspace.journal.iterdir() if path.is_dir())
        return [path for path in names if key is None or path.name.endswith(f"-{key[:_KEY_DIGITS]}")]
    return []


@contextmanager
def held(workspace: Workspace, folder: Path) -> Iterator[Journal | None]:
    """The journal in a folder while the block runs; None where another process holds it."""
    with _listed(workspace):
        journal = Journal.hold(folder)
    try:
        yield journal
    finally:
        if journal:
            journal.release()


def is_written(folder: Path) -> bool:
    """Whether the stage that began this journal still runs; whoever else holds it has all of it, and is soon done.

    Raises:
        OSError: it can't be read.
    """
    try:
        with (folder / "records.jsonl").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _next(folders: Sequence[Path]) -> datetime:
    """Now, or just after the newest of these journals where the clock was set back since."""
    latest = datetime.now(UTC)
    for folder in folders:
        with suppress(ValueError):
            begun = datetime.strptime(folder.name.partition("-")[0], _TIME).replace(tzinfo=UTC)
            latest = max(latest, begun + timedelta(microseconds=1))
    return latest


@contextmanager
def _listed(workspace: Workspace) -> Iterator[Path]:
    """The folder of all journals, locked: between the making of a journal and its lock nobody else may hold it."""
    parent = workspace.journal
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield parent


def _mirrored(folder: Path) -> tuple[int, str | None, tuple[int, ...]]:
    """How many bytes MLflow has, in which run, and where the lines begin that it lacks of them."""
    try:
        value = json.loads((folder / "mirror.json").read_bytes())
        return int(value["sent"]), value["run_id"], tuple(map(int, value.get("late", ())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0, None, ()  # To tell it all again is slow, not wrong.
