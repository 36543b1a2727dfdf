"""Duplicates and near duplicates side by side: those that were kept with those that were dropped for them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rediffuse.seeds import hashed_seed
from rediffuse.survey.galleries import Gallery, Pick, tail
from rediffuse.survey.tables import Tables

GROUPS_SHOWN = 12
MEMBERS_SHOWN = 6

_KINDS = ("duplicate", "near_duplicate")


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of the data.

    Args:
        count, images: groups of two or more, and the images in them.
        disagreeing: groups whose members have different labels.
        straddling: groups of which train, val and test hold more than one share; there should be none.
        galleries: some of them, the largest first.
    """

    count: int
    images: int
    disagreeing: int
    straddling: int
    galleries: tuple[Gallery, ...]


def groups(tables: Tables) -> Groups:
    """The groups in the manifest, with the duplicates that are not in it because of their group."""
    members = _members(tables)
    sizes = members.groupby("group", sort=False).agg(
        size=("id", "size"), first=("order", "min"), labels=("label", "nunique")
    )
    sizes = sizes[sizes["size"] > 1].sort_values(["size", "first"], ascending=[False, True])
    members = members[members["group"].isin(sizes.index).to_numpy(dtype=bool)]
    differing = sizes.index[(sizes["labels"] > 1).to_numpy(dtype=bool)].tolist()
    used = members[members["split"].isin(["train", "val", "test"]).to_numpy(dtype=bool)]
    straddling = (used.groupby("group", sort=False)["split"].nunique() > 1).sum()
    return Groups(
        count=len(sizes),
        images=len(members),
        disagreeing=len(differing),
        straddling=int(straddling),
        galleries=tuple(
            _gallery(tables, members[(members["group"] == name).to_numpy(dtype=bool)], alert=name in set(differing))
            for name in _chosen(sizes.index.tolist(), differing)
        ),
    )


def _chosen(names: list[str], differing: list[str]) -> list[str]:
    """The largest groups, some whose labels differ, and some others by hash, in the order of `names`."""
    third = GROUPS_SHOWN // 3
    by_hash = sorted(names, key=lambda name: (hashed_seed(0, f"survey/group/{name}"), name))
    chosen = dict.fromkeys([*names[:third], *differing[:third], *by_hash])
    picked = set(list(chosen)[:GROUPS_SHOWN])
    return [name for name in names if name in picked]


def _members(tables: Tables) -> pd.DataFrame:
    """Every image that has its like: columns group, id, label, split or fate, row (-1: not kept) and order."""
    kept = tables.kept
    columns = ["group", "id", "label", "split"]
    parts = []
    for fate, table in (("dropped", tables.rejected), ("quarantined", tables.quarantined)):
        twins = table[table["reason"].isin(_KINDS).to_numpy(dtype=bool)]
        if len(twins):
            parts.append(twins.assign(split=fate, row=-1)[[*columns, "row"]])
    repeated = kept["group"].duplicated(keep=False).to_numpy(dtype=bool)
    for part in parts:
        repeated = repeated | kept["group"].isin(part["group"]).to_numpy(dtype=bool)
    ours = kept.loc[repeated, columns].assign(row=np.flatnonzero(repeated))
    together = pd.concat([ours, *parts], ignore_index=True)
    return together.assign(order=np.arange(len(together)))


def _gallery(tables: Tables, members: pd.DataFrame, *, alert: bool) -> Gallery:
    # Where labels differ, the rarer ones must not fall behind the end.
    labels = members["label"].fillna(-1)
    times = labels.map(labels.value_counts()).to_numpy(dtype=np.int64)
    rare = (times < times.max()) if alert else np.zeros(len(members), np.bool_)
    first = np.flatnonzero(rare)[: MEMBERS_SHOWN // 2].tolist()
    shown = sorted(list(dict.fromkeys([*first, *range(len(members))]))[:MEMBERS_SHOWN])
    picks = []
    for place in shown:
        entry = members.iloc[place]
        label, row = tables.label(entry["label"]), int(entry["row"])
        captions = (*([label] if tables.card.classes else []), entry["split"])
        picks.append(
            Pick(
                id=entry["id"],
                row=row if row >= 0 else None,
                captions=captions,
                detail=", ".join(captions),
                alert=bool(rare[place]),
            )
        )
    heading = f"{len(members)} images"
    if len(shown) < len(members):
        heading = f"{len(shown)} of {heading}"
    return Gallery(
        heading=heading,
        note=f"labels differ: {tail(members['id'].iloc[0])}" if alert else tail(members["id"].iloc[0]),
        alert=alert,
        picks=tuple(picks),
    )
