"""Cleaning: every row of the shards is kept, quarantined or rejected, with its reason; found is always their sum.

Two passes over the shards in worker processes, and between them the judgement over what the first one saw: which rows
are broken, repeated, empty or odd. In memory are arrays of about a kilobyte a row, most of it for the search of near
duplicates, and never images of more than a few hundred rows. A pass keeps what it made of each shard until the whole is
done, and the first one longer: after a kill, or when images are added, only shards without a result are worked on.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from rediffuse import files
from rediffuse.data import cache
from rediffuse.data.arrays import ArrayWriter
from rediffuse.data.card import Card
from rediffuse.data.cleaning.explanation import Explanation
from rediffuse.data.cleaning.output import write_tables
from rediffuse.data.cleaning.refusal import refuse_what_is_left
from rediffuse.data.cleaning.rows import Array, Rows
from rediffuse.data.cleaning.verdicts import DROP, KEEP, QUARANTINE, REASONS, Verdicts, judge
from rediffuse.data.decoding import DecodePolicy
from rediffuse.data.duplicates import components
from rediffuse.data.engines import Engine
from rediffuse.data.manifest import CHECKS, CONVERSIONS, SPLITS
from rediffuse.data.passes import EXAMPLES, Formatting, Looking, format_from, look_at
from rediffuse.data.shards import Prepared, check_shards, read_manifest
from rediffuse.errors import UserError
from rediffuse.params import CleanParams
from rediffuse.progress import image_bar
from rediffuse.workspace import Workspace

_SIZES = range(4, 1025)
_BLOCK = 1024  # examples in memory at a time


def clean(
    workspace: Workspace, settings: CleanParams, engine: Engine, *, code: str, progress: bool = False
) -> dict[str, Any]:
    """Make data/clean/ of data/prepared/: examples.npy, three tables of rows, and card.json.

    Args:
        workspace: none of its files is touched unless all can be written; what the passes make of each shard lies in
            its state folder.
        settings: the section `clean`.
        engine: runs the passes; neither it nor its number of workers changes a byte.
        code: a digest of what the passes compute with, part of the names under which their results are kept.
        progress: show a bar for each pass.

    Returns:
        found, kept, quarantined, rejected; the quarantined and rejected by reason; of those that are kept, what was
        converted, and what was found and marked; and how many went because another of the source's parts has them.

    Raises:
        UserError: too many rows go, none stays, a class or a part that the source gives keeps none, there is no size to
            choose, or a shard is damaged.
    """
    source = read_manifest(workspace.prepared)
    check_shards(workspace.prepared, source)
    with ExitStack() as stack:
        looks = stack.enter_context(cache.opened(workspace.state / "clean" / "looks"))
        parts = stack.enter_context(cache.opened(workspace.state / "clean" / "examples", keep=False))

        looking = _looking(workspace.prepared, source, settings)
        with image_bar("look", source.rows, shown=progress) as bar:
            looked = looks.results(engine, look_at, looking, lambda task: _key(task, code), lambda task: bar(task.rows))
        rows = Rows.read([task.shard for task in looking], looked)
        verdicts = judge(rows, settings.checks)
        explanation = Explanation(rows, verdicts, source.classes, settings.checks)
        refuse_what_is_left(rows, verdicts, explanation, source.classes, settings.max_rejected_share)

        kept = verdicts.kept
        shape = _shape(rows, kept, settings.size, settings.channels)
        formatting = _formatting(looking, rows, kept, shape, settings)
        with image_bar("format", len(kept), shown=progress) as bar:
            formatted = parts.results(
                engine, format_from, formatting, lambda task: _key(task, code), lambda task: bar(len(task.positions))
            )
        _write(workspace, settings, source, rows, verdicts, shape, formatted)
    return _metrics(rows, verdicts)


def _looking(folder: Path, source: Prepared, settings: CleanParams) -> list[Looking]:
    policy = DecodePolicy.of(settings)
    return [
        Looking(shard=folder / shard.file, sha256=shard.sha256, rows=shard.rows, policy=policy, resize=settings.resize)
        for shard in source.shards
    ]


def _formatting(
    looking: Sequence[Looking], rows: Rows, kept: Array, shape: tuple[int, int, int], settings: CleanParams
) -> list[Formatting]:
    tasks = []
    for number, task in enumerate(looking):
        here = rows.of_shard(number)
        start, end = np.searchsorted(kept, (here.start, here.stop))
        tasks.append(
            Formatting(
                shard=task.shard,
                sha256=task.sha256,
                positions=kept[start:end] - here.start,
                shape=shape,
                policy=task.policy,
                resize=settings.resize,
            )
        )
    return tasks


def _key(task: Looking | Formatting, code: str) -> str:
    """A hash of all that decides what a pass makes of a shard, wherever the shard lies."""
    fields = asdict(task) | {"shard": None, "task": type(task).__name__, "libraries": (PIL.__version__, np.__version__)}
    if isinstance(task, Formatting):
        fields["positions"] = hashlib.sha256(task.positions.astype("<i8").tobytes()).hexdigest()
    return hashlib.sha256(f"{code}/{json.dumps(fields, sort_keys=True)}".encode()).hexdigest()[:32]


def _shape(rows: Rows, kept: Array, size: int | None, channels: int | None) -> tuple[int, int, int]:
    """Channels, height and width of every example; parameters that are None are read from the images that are kept."""
    if channels is None:
        channels = 1 if rows.grey[kept].all() else 3
    if size is None:
        # The smaller of two that are equally common: unique sorts, and argmax takes the first.
        sides, times = np.unique(np.minimum(rows.width[kept], rows.height[kept]), return_counts=True)
        size = int(sides[times.argmax()])
        if size not in _SIZES:
            raise UserError(
                f"params.yaml: clean.size is null, and the commonest shorter side of the images is {size}; "
                f"set clean.size to {_SIZES[0]} to {_SIZES[-1]} pixels"
            )
    return channels, size, size


def _write(
    workspace: Workspace,
    settings: CleanParams,
    source: Prepared,
    rows: Rows,
    verdicts: Verdicts,
    shape: tuple[int, int, int],
    formatted: Sequence[Path],
) -> None:
    kept = verdicts.kept
    with (
        files.replacing(workspace.examples) as examples,
        files.replacing(workspace.manifest) as manifest,
        files.replacing(workspace.rejected) as rejected,
        files.replacing(workspace.quarantined) as quarantined,
    ):
        with ArrayWriter(examples, shape) as writer:
            hashes = [hashed for part in formatted for hashed in _append(writer, part / EXAMPLES)]
        # Images that only formatting made equal leak as surely as copies do.
        verdicts = replace(verdicts, group=_grouped(verdicts.group, kept, np.concatenate(hashes)))
        explanation = Explanation(rows, verdicts, source.classes, settings.checks)
        write_tables(rows, verdicts, explanation, manifest, rejected, quarantined)

        labels = rows.label[kept]
        mean, std = writer.moments()
        card = Card(
            modality="image",
            shape=shape,
            classes=source.classes,
            count=len(kept),
            class_counts={name: int((labels == label).sum()) for label, name in enumerate(source.classes)},
            mean=mean,
            std=std,
            source=source.source,
            digest=writer.digest(labels),
            **asdict(source.about),
        )
    card.write(workspace.card)


def _append(writer: ArrayWriter, part: Path) -> list[Array]:
    """Append the examples in a file; give a 64-bit hash of each."""
    examples = np.load(part, mmap_mode="r")
    hashes = [np.empty(0, np.uint64)]
    for start in range(0, len(examples), _BLOCK):
        block = np.asarray(examples[start : start + _BLOCK])
        writer.extend(block)
        digests = (hashlib.blake2b(example, digest_size=8).digest() for example in block)
        hashes.append(np.frombuffer(b"".join(digests), np.uint64))
    return hashes


def _grouped(group: Array, kept: Array, hashes: Array) -> Array:
    """The groups of all rows, where kept rows of equal hash are in one group; each is called by its first kept row."""
    places = np.arange(len(kept))
    # A group's first row may be gone: what is left of it is together all the same.
    firsts = np.concatenate([_first_of_equal(group[kept]), _first_of_equal(hashes)])
    joined = kept[components(len(kept), np.concatenate([places, places]), firsts)]
    # What isn't kept follows what is left of its group, where anything is.
    leader = np.arange(len(group))
    leader[group[kept]] = joined
    grouped: Array = leader[group]
    return grouped


def _first_of_equal(values: Array) -> Array:
    """For each value the position of the first that equals it."""
    _, first, alike = np.unique(values, return_index=True, return_inverse=True)
    positions: Array = first[alike]
    return positions


def _metrics(rows: Rows, verdicts: Verdicts) -> dict[str, Any]:
    counts = Counter(verdicts.action.tolist())
    reasons = Counter(verdicts.reason[verdicts.action != KEEP].tolist())
    kept = verdicts.kept
    return {
        "found": len(rows),
        "kept": counts[KEEP],
        "quarantined": counts[QUARANTINE],
        "rejected": counts[DROP],
        "reasons": {name: reasons[position] for position, name in enumerate(REASONS)},
        "converted": _each(rows.conversions[kept], CONVERSIONS),
        "findings": _each(verdicts.marks[kept], CHECKS),
        "given_overlap": _given_overlap(rows, verdicts),
    }


def _given_overlap(rows: Rows, verdicts: Verdicts) -> dict[str, int]:
    """Images that go because another part of the source has them, "train_test": of train, in test."""
    gone = np.flatnonzero((verdicts.action != KEEP) & (verdicts.twin != np.arange(len(rows))))
    own, other = rows.given[gone], rows.given[verdicts.twin[gone]]
    train, val, test = range(1, 1 + len(SPLITS))
    pairs = {"train_val": (train, val), "train_test": (train, test), "val_test": (val, test)}
    return {name: int(((own == of) & (other == to)).sum()) for name, (of, to) in pairs.items()}


def _each(bits: Array, names: Sequence[str]) -> dict[str, int]:
    """How often each bit is set, by its name."""
    return {name: int((bits >> position & 1).sum()) for position, name in enumerate(names)}
