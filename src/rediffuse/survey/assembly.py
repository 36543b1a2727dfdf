"""From the tables and images of the data stages to the page's contents: what stands where, and under which words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rediffuse.data.manifest import CHECKS, CONVERSIONS, FAULTS
from rediffuse.pages import number
from rediffuse.params import flatten
from rediffuse.params.data import CleanParams, PrepareParams, SplitParams
from rediffuse.survey import distributions, figures
from rediffuse.survey.checks import read_checks
from rediffuse.survey.galleries import drawn, ends, examples, outliers, rejects, suspects
from rediffuse.survey.groups import Groups, groups
from rediffuse.survey.report import DataReport, Reason
from rediffuse.survey.strips import Thumbnails
from rediffuse.survey.tables import Tables, words_counted
from rediffuse.survey.words import DONE, FOUND, counted, percent, printable
from rediffuse.workspace import Workspace

_BELOW = {
    "duplicate": "duplicates",
    "near_duplicate": "duplicates",
    "class_outlier": "outliers",
    "label_suspect": "suspects",
}

CLASSES_DRAWN = 24
CLASSES_LISTED = 1000
SIZES_LOOKED_AT = 300  # of images that are not kept: the shards tell it of encoded images alone


def assemble(
    workspace: Workspace,
    tables: Tables,
    *,
    prepare: PrepareParams,
    clean: CleanParams,
    split: SplitParams,
    split_metrics: Mapping[str, Any],
) -> DataReport:
    """The page of one data set.

    Args:
        workspace: holds the shards and the cleaned examples.
        tables: of that workspace.
        prepare, clean, split: the parameters they were made with.
        split_metrics: the content of metrics/split.json.
    """
    outcomes = tables.outcomes((*FAULTS, *CHECKS))
    outcomes = outcomes.loc[outcomes.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    outcomes = outcomes[outcomes.sum(axis=1) > 0]
    galleries = {str(reason): rejects(tables, str(reason)) for reason in outcomes.index}
    found, far, doubtful, shown = groups(tables), outliers(tables), suspects(tables), examples(tables)

    not_kept = pd.concat([tables.rejected["id"], tables.quarantined["id"]], ignore_index=True)
    looked_at = not_kept.iloc[drawn(not_kept, SIZES_LOOKED_AT)].tolist()
    every = [*(gallery for some in galleries.values() for gallery in some), *found.galleries, *shown]
    every += [gallery for gallery in (far, doubtful) if gallery]
    thumbnails = Thumbnails(workspace, every, looked_at, clean.background)
    originals = [thumbnails.originals[name] for name in looked_at if name in thumbnails.originals]
    sizes = [(each.width, each.height) for each in originals if each.width]

    below = {"duplicates": found.galleries, "outliers": far, "suspects": doubtful}
    card, splits = tables.card, tables.splits
    channels, height, width = card.shape
    counts = tables.class_counts()
    most = max((int(row.sum()) for _, row in outcomes.iterrows()), default=1)
    return DataReport(
        title=f"Data: {card.source}",
        subtitle=f"{counted(card.count, 'image')} of {width} × {height} pixels ({ {1: 'grey', 3: 'RGB'}[channels] })"
        + (f" in {len(card.classes):,} class{'es' * (len(card.classes) > 1)}." if card.classes else "."),
        provenance=" · ".join(
            f"{name} {text}"
            for name, text in (("from", card.origin), ("licence", card.licence), ("retrieved", card.retrieved))
            if text
        ),
        about={
            "source": card.source,
            "origin": card.origin or "not stated",
            "licence": card.licence or "not stated",
            "retrieved": card.retrieved or "not stated",
            "mean and standard deviation on [-1, 1]": f"{number(card.mean)}, {number(card.std)}",
            "digest": card.digest,
        },
        flow=figures.flow(tables.found, _outcomes(tables), splits),
        flow_words=_flow_words(tables),
        reasons=[
            Reason(
                name=str(name).replace("_", " "),
                words=FOUND[str(name)],
                counts=", ".join(
                    f"{count:,} {did}"
                    for did, count in zip(("dropped", "quarantined", "kept and marked"), row, strict=True)
                    if count
                ),
                shares=(row["dropped"] / most, row["quarantined"] / most, row["marked"] / most),
                below=_BELOW[str(name)] if below.get(_BELOW.get(str(name), "")) else "",
                strips=tuple(map(thumbnails.strip, galleries[str(name)])),
            )
            for name, row in outcomes.iterrows()
        ],
        reasons_picture=figures.reasons(outcomes) if len(outcomes) else None,
        conversions=_conversions(tables),
        groups=found,
        group_words=_group_words(found),
        group_strips=list(map(thumbnails.strip, found.galleries)),
        outliers=thumbnails.strip(far) if far else None,
        suspects=thumbnails.strip(doubtful) if doubtful else None,
        examples=list(map(thumbnails.strip, shown)),
        classes=figures.classes(counts, ends(tables, CLASSES_DRAWN)) if card.classes else None,
        class_words=_class_words(counts),
        class_table=counts.iloc[ends(tables, CLASSES_LISTED)].rename(index=printable),
        dimensions=distributions.dimensions(tables.kept, sizes, (width, height)),
        dimension_words=_dimension_words(tables, len(looked_at), len(sizes)),
        quality=distributions.quality(tables.kept),
        checks=read_checks(tables, found, split_metrics, split.limits),
        protocol={
            name: str(value)
            for section, values in (("prepare", prepare), ("clean", clean), ("split", split))
            for name, value in flatten({section: values.model_dump(mode="json")}).items()
        },
    )


def _outcomes(tables: Tables) -> dict[str, int]:
    return {"kept": len(tables.kept), "quarantined": len(tables.quarantined), "rejected": len(tables.rejected)}


def _flow_words(tables: Tables) -> list[str]:
    def summed(whole: str, parts: Mapping[str, int]) -> str:
        return f"{whole} = " + " + ".join(f"{count:,} {name}" for name, count in parts.items())

    lines = [
        summed(f"{tables.found:,} found", _outcomes(tables)),
        summed(f"{len(tables.kept):,} kept", tables.splits),
    ]
    if "overlap" in tables.splits:
        lines.append(
            "overlap: of the source's own train or val, but like an image of its test (or val); nothing uses it"
        )
    return lines


def _conversions(tables: Tables) -> dict[str, str]:
    done = words_counted(tables.kept["converted"])
    return {
        DONE[name]: f"{int(done[name]):,} ({percent(int(done[name]), len(tables.kept))} of the kept)"
        for name in CONVERSIONS
        if name in done
    }


def _group_words(found: Groups) -> str:
    words = (
        f"{counted(found.count, 'group')} of images that are the same or almost; {found.images:,} images stand in one. "
    )
    if found.disagreeing:
        verb = "has" if found.disagreeing == 1 else "have"
        words += f"{counted(found.disagreeing, 'group')} {verb} members with different labels. "
    if found.count > len(found.galleries):
        words += f"Shown are {len(found.galleries)}: the largest, some with different labels, and some others."
    return words.strip()


def _class_words(counts: pd.DataFrame) -> str:
    if not len(counts):
        return ""
    totals = counts.sum(axis=1)
    largest, smallest = (
        f"{printable(str(totals.index[at]))} ({totals.iloc[at]:,} images, {percent(totals.iloc[at], totals.sum())})"
        for at in (int(totals.argmax()), int(totals.argmin()))
    )
    words = f"The largest class is {largest}, the smallest {smallest}."
    if len(counts) > CLASSES_DRAWN:
        half = CLASSES_DRAWN // 2
        words += f" Drawn are the {half} largest and the {half} smallest of {len(counts):,} classes."
    return words


def _dimension_words(tables: Tables, looked_at: int, known: int) -> str:
    sizes, counts = np.unique(tables.kept[["width", "height"]].to_numpy(np.int64), axis=0, return_counts=True)
    width, height = sizes[counts.argmax()]
    words = f"The commonest size is {width} × {height} ({percent(counts.max(), len(tables.kept))} of the kept)."
    if looked_at:
        others = len(tables.rejected) + len(tables.quarantined)
        some = f"{looked_at} of the {others:,}" if looked_at < others else f"the {others:,}"
        words += f" Of {some} images that are not kept, the size of {known} can be read."
    return words
