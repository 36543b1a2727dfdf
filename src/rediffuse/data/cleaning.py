"""Cleaning: every row of the shards becomes an example or a rejection with its reason; found = kept + rejected.

Two passes over the shards, each with one row group in memory. The first decodes each image and remembers what its
pixels hash to, so that the common size, the channels and the duplicates are known; the second formats the images that
are kept and writes them. Images are duplicates when their decoded pixels are equal: then nothing later could tell them
apart. Blank ones (one colour everywhere, once formatted) hold nothing to learn.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from rediffuse import files
from rediffuse.data.arrays import ArrayWriter
from rediffuse.data.card import Card
from rediffuse.data.decoding import DecodePolicy, UndecodableError, decode
from rediffuse.data.formatting import square
from rediffuse.data.manifest import CHECKS, FAULTS, MANIFEST, REJECTED, write_table
from rediffuse.data.shards import check_shards, read_manifest, read_rows
from rediffuse.data.sources import Row
from rediffuse.errors import UserError
from rediffuse.workspace import Workspace

_SIZES = range(4, 1025)
_POLICY = DecodePolicy()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What the first pass keeps of a row."""

    row: Row  # without its content
    fault: str = ""  # why the image can't be decoded; what follows is then without meaning
    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    grey: bool = False


@dataclass(frozen=True, slots=True)
class _Rejection:
    row: Row
    reason: str
    detail: str


def clean(workspace: Workspace, *, size: int | None, channels: int | None, max_rejected_share: float) -> dict[str, Any]:
    """Make data/clean/ of data/prepared/: examples.npy, manifest.parquet, rejected.parquet and card.json.

    Args:
        workspace: none of its files is touched unless all can be written.
        size: pixels a side, 4 to 1024, or None: the commonest shorter side.
        channels: 1, 3, or None: 1 where every image is grey.
        max_rejected_share: of the rows, 0 to 1.

    Returns:
        found, kept, rejected, and the rejected by reason.

    Raises:
        UserError: too many rows are rejected, none is kept, a class or the source's own train or test set keeps none,
            there is no size to choose, or a shard is damaged.
    """
    source = read_manifest(workspace.prepared)
    check_shards(workspace.prepared, source)
    seen = [_look(row) for row in read_rows(workspace.prepared)]
    keepers = _keepers(seen)
    blank: set[str] = set()
    kept: list[_Seen] = []
    with (
        files.replacing(workspace.examples) as examples,
        files.replacing(workspace.manifest) as manifest,
        files.replacing(workspace.rejected) as rejected,
    ):
        with ArrayWriter(examples, _shape(seen, size, channels)) as writer:
            for i, (one, row) in enumerate(zip(seen, read_rows(workspace.prepared), strict=True)):
                if keepers.get(one.digest) != i:
                    continue
                example = square(
                    decode(row.content, _POLICY).pixels,
                    writer.shape[1],
                    writer.shape[0],
                    "center_crop",
                    _POLICY.background,
                )
                if (example == example[:, :1, :1]).all():
                    blank.add(one.digest)
                else:
                    writer.append(example)
                    kept.append(one)
        rejections = _rejections(seen, keepers, blank, source.classes)
        _check(kept, rejections, source.classes, max_rejected_share)
        write_table(manifest, MANIFEST, map(_manifest_row, kept))
        write_table(rejected, REJECTED, map(_rejected_row, rejections))

        labels = [-1 if one.row.label is None else one.row.label for one in kept]
        per_class = Counter(labels)
        mean, std = writer.moments()
        card = Card(
            modality="image",
            shape=writer.shape,
            classes=source.classes,
            count=len(kept),
            class_counts={name: per_class[label] for label, name in enumerate(source.classes)},
            mean=mean,
            std=std,
            source=source.source,
            digest=writer.digest(labels),
        )
    card.write(workspace.card)
    by_reason = Counter(rejection.reason for rejection in rejections)
    return {
        "found": len(seen),
        "kept": len(kept),
        "rejected": len(rejections),
        "reasons": {reason: by_reason[reason] for reason in (*FAULTS, *CHECKS)},
    }


def _look(row: Row) -> _Seen:
    """The first pass, on one row."""
    bare = replace(row, content=b"")
    try:
        picture = decode(row.content, _POLICY)
    except UndecodableError as error:
        return _Seen(row=bare, fault=str(error))
    pixels = picture.pixels
    return _Seen(
        row=bare,
        digest=sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest(),
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        grey=pixels.ndim == 2,
    )


def _shape(seen: Iterable[_Seen], size: int | None, channels: int | None) -> tuple[int, int, int]:
    """Channels, height and width of every example; parameters that are None are read from the images."""
    decodable = [one for one in seen if not one.fault]
    if channels is None:
        channels = 1 if all(one.grey for one in decodable) else 3
    if size is None:
        sides = Counter(min(one.width, one.height) for one in decodable)
        size = min(sides, key=lambda side: (-sides[side], side), default=_SIZES[0])
        if size not in _SIZES:
            raise UserError(
                f"params.yaml: clean.size is null, and the commonest shorter side of the images is {size}; "
                f"set clean.size to {_SIZES[0]} to {_SIZES[-1]} pixels"
            )
    return channels, size, size


def _keepers(seen: Sequence[_Seen]) -> dict[str, int]:
    """Which image of each set of equal ones stays: the first, but before it the first in the source's test set."""
    keepers: dict[str, int] = {}
    for i, one in enumerate(seen):
        if one.fault:
            continue
        rival = keepers.setdefault(one.digest, i)
        # Losing the test image would change the test set; keeping the other would train on it.
        if one.row.split == "test" and seen[rival].row.split != "test":
            keepers[one.digest] = i
    return keepers


def _rejections(
    seen: Sequence[_Seen], keepers: Mapping[str, int], blank: set[str], classes: Sequence[str]
) -> list[_Rejection]:
    """Every row that is not kept, in the order of the source, with its reason."""
    rejections = []
    for i, one in enumerate(seen):
        if one.fault:
            rejections.append(_Rejection(one.row, "damaged", one.fault))
        elif one.digest in blank:
            rejections.append(_Rejection(one.row, "blank", "every pixel is the same"))
        elif keepers[one.digest] != i:
            other = seen[keepers[one.digest]].row
            detail = f"the same pixels as {other.id}"
            if one.row.label is not None and other.label is not None and one.row.label != other.label:
                detail += f", but labelled {classes[one.row.label]} and not {classes[other.label]}"
            rejections.append(_Rejection(one.row, "duplicate", detail))
    return rejections


def _check(
    kept: Sequence[_Seen], rejections: Sequence[_Rejection], classes: Sequence[str], max_rejected_share: float
) -> None:
    """Stop where what is left is no data set to train on."""
    found = len(kept) + len(rejections)
    if not kept or len(rejections) > max_rejected_share * found:
        reason, times = Counter(rejection.reason for rejection in rejections).most_common(1)[0]
        first = next(rejection for rejection in rejections if rejection.reason == reason)
        raise UserError(
            f"{len(rejections)} of {found} images are rejected, {times} of them as {reason} "
            f"(the first is {first.row.origin!r}: {first.detail}); "
            f"allowed is a share of clean.max_rejected_share ({max_rejected_share}), and one image has to stay"
        )
    labels, parts = {one.row.label for one in kept}, {one.row.split for one in kept}
    for label, name in enumerate(classes):
        if label not in labels:
            why = _lost(rejection for rejection in rejections if rejection.row.label == label)
            raise UserError(f"the class {name!r} is left without images ({why}); each class needs at least one")
    # Without this, later stages would take the source for one without a test set, and cut another from what is left.
    given = parts | {rejection.row.split for rejection in rejections} != {None}
    for part in ("train", "test"):
        if given and part not in parts:
            why = _lost(rejection for rejection in rejections if rejection.row.split == part)
            raise UserError(
                f"the source's own {part} set is left without images ({why}); it needs at least one image, "
                "or has to be left out as a whole"
            )


def _lost(rejections: Iterable[_Rejection]) -> str:
    """How many were rejected for which reason."""
    reasons = Counter(rejection.reason for rejection in rejections)
    return ", ".join(f"{times} {reason}" for reason, times in sorted(reasons.items())) or "it has none"


def _manifest_row(one: _Seen) -> dict[str, Any]:
    row = one.row
    return {
        "id": row.id,
        "sha256": one.digest,
        "width": one.width,
        "height": one.height,
        "mode": one.mode,
        "label": row.label,
        "caption": row.caption,
        "given_split": row.split,
        "origin": row.origin,
        "group": row.id,
        "converted": "",
        "findings": "",
        "brightness": 0.0,
        "contrast": 0.0,
        "entropy": 0.0,
    }


def _rejected_row(rejection: _Rejection) -> dict[str, Any]:
    row = rejection.row
    return {
        "id": row.id,
        "origin": row.origin,
        "label": row.label,
        "reason": rejection.reason,
        "detail": rejection.detail,
    }
