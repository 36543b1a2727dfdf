"""A job's folder: what was asked for, the images so far, and a manifest of them."""

import csv
import fcntl
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rediffuse import files
from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.answers import Answers
from rediffuse.serving.jobs.items import Item
from rediffuse.serving.record import png, read_record
from rediffuse.serving.request import ImageRequest

JOB, MANIFEST = "job.json", "manifest.csv"
FORMAT = 1

_NO_PART = ("count", "seed")
"""Keys of the section `sample` that no image of a job depends on."""

COLUMNS = (
    "file",
    "row",
    "prompt",
    "seed",
    "index",
    "to_seed",
    "share",
    "sampler",
    "steps",
    "guidance",
    "temperature",
    "model",
    "sha256",
)
"""Of the manifest: `row` counts the job's rows from 0, `model` is the SHA-256 of the weights, `sha256` the file's."""


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job, of which this process alone is the writer; `opened` gives it."""

    path: Path

    def digest(self, item: Item) -> str | None:
        """The SHA-256 of an image that is there, whole, and says of itself what the job asks for; None: of no other."""
        try:
            content = (self.path / item.file).read_bytes()
            if read_record(content) != item.record:
                return None
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except (FileNotFoundError, ValueError, OSError, SyntaxError):
            return None
        return hashlib.sha256(content).hexdigest()

    def keep(self, item: Item, image: np.ndarray) -> str:
        """Write an image, whole or not at all; gives its SHA-256.

        Args:
            image: C×H×W, uint8.
        """
        content = png(image, item.record)
        files.write_bytes(self.path / item.file, content)
        return hashlib.sha256(content).hexdigest()

    def write_manifest(self, items: Iterable[Item], digests: Iterable[str]) -> None:
        """Replace the manifest by one of these images, in this order."""
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        for item, digest in zip(items, digests, strict=True):
            told = asdict(item.record) | {"file": item.file, "row": item.row, "sha256": digest}
            table.writerow({column: told[column] for column in COLUMNS})
        files.write_bytes(self.path / MANIFEST, text.getvalue().encode())


@contextmanager
def opened(
    path: Path, requests: Sequence[ImageRequest], answers: Answers, items: Sequence[Item]
) -> Iterator[JobFolder]:
    """The folder of a job: a new or empty one, or one in which this job was begun.

    What a killed process left of a file is removed.

    Args:
        path: of the folder.
        requests: the rows, as they were accepted.
        answers: the model.
        items: the images of these rows.

    Raises:
        UserError: the folder is another job's, or another model's, or holds a file that is not of this job.
        TryAgainError: another process draws there now.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; a folder is needed for the images")
    path.mkdir(parents=True, exist_ok=True)
    job = job_of(requests, answers)
    with _alone(path):
        begun = begun_in(path)
        if begun is not None:
            _compare(path, begun, job)
        _clear(path, {MANIFEST, *(item.file for item in items)} if begun is not None else set())
        if begun is None:
            files.write_json(path / JOB, job)
        yield JobFolder(path)


def job_of(requests: Sequence[ImageRequest], answers: Answers) -> dict[str, Any]:
    """What JOB holds: all that the bytes of the job depend on, but the machine."""
    # Grid, thresholds, guided levels ...: no request can ask for others, and so no record tells of them.
    sampling = {name: value for name, value in answers.sample.model_dump(mode="json").items() if name not in _NO_PART}
    rows = [request.model_dump(mode="json", exclude_defaults=True) for request in requests]
    return {"format": FORMAT, "model": answers.identity, "sampling": sampling, "rows": rows}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    # The folder itself is locked, so that no file lies beside the images; the kernel frees it however a process dies.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError(f"{path} is in use by another process that draws this job") from None
        yield
    finally:
        os.close(descriptor)


def begun_in(path: Path) -> dict[str, Any] | None:
    """The job that was begun in the folder, as `job_of` made it; None where there is none.

    Raises:
        UserError: it can't be read.
    """
    try:
        begun = files.read_json(path / JOB)
    except FileNotFoundError:
        return None
    except ValueError:
        begun = None
    if not isinstance(begun, dict) or begun.get("format") != FORMAT:
        raise UserError(f"{path / JOB} is no job of this version; use another folder")
    return begun


def _compare(path: Path, begun: dict[str, Any], job: dict[str, Any]) -> None:
    """Raise what differs in words that say what to do."""
    if begun.get("model") != job["model"]:
        raise UserError(
            f"{path} was begun with the model {begun.get('model')}, this one is {job['model']}; "
            "go on with that model, or use another folder"
        )
    for part in ("sampling", "rows"):
        if differs := _first_difference(begun.get(part), job[part]):
            raise UserError(f"{path} holds another job ({part}{differs}); use another folder")


def _first_difference(begun: Any, now: Any) -> str:
    """Where two JSON values differ, and how; empty for equal ones."""
    if begun == now:
        return ""
    if isinstance(begun, dict) and isinstance(now, dict):
        name = next(name for name in sorted(begun.keys() | now.keys()) if begun.get(name) != now.get(name))
        return f".{name}{_first_difference(begun.get(name), now.get(name))}"
    if isinstance(begun, list) and isinstance(now, list):
        if len(begun) != len(now):
            return f": it has {len(begun)}, this one {len(now)}"
        place = next(place for place, pair in enumerate(zip(begun, now, strict=True)) if pair[0] != pair[1])
        return f".{place}{_first_difference(begun[place], now[place])}"
    return f": {begun!r} there, {now!r} here"


def _clear(path: Path, expected: set[str]) -> None:
    """Remove the beginnings of files that a killed process left.

    Raises:
        UserError: something else is there that is none of `expected`; nothing was removed.
    """
    left = []
    for entry in sorted(each.name for each in path.iterdir()):
        begun = re.fullmatch(r"\.\d+\.(.+)", entry)
        if begun and begun[1] in expected | {JOB}:
            left.append(entry)
        elif entry not in expected | {JOB}:
            raise UserError(f"{path / entry} is no file of this job; use an empty folder, or another")
    for entry in left:
        (path / entry).unlink()
