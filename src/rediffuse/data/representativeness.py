"""What a split is worth: its counts, and whether validation and test show what train shows.

Only measured, unless a limit is set. The samples for the classifier and for the Fréchet distance are chosen by a hash
of the ids and kept in its order, so that nothing depends on the order of the rows. They hold one image of each group:
twenty copies tell no more than one, and an interval that counts them all is too narrow.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from threadpoolctl import threadpool_limits

from rediffuse.data.splitting import PLACES, TEST, TRAIN, UNUSED, VAL, given_places, hashes
from rediffuse.data.two_sample import box_averaged, classifier_auc, frechet_floor, principal_components
from rediffuse.errors import UserError
from rediffuse.seeds import hashed_seed

Integers = NDArray[np.int64]

_SAMPLE = 2000
_BLOCK_BYTES = 2**24
_KS_COLUMNS = ("brightness", "entropy")
_GREY_COLUMNS = ("brightness", "contrast", "entropy")


def measure(manifest: pd.DataFrame, places: Integers, classes: Sequence[str]) -> dict[str, Any]:
    """The numbers that follow from the tables alone.

    Args:
        manifest: the columns group, label and given_split; N rows.
        places: of each row, positions in PLACES, (N,).
        classes: class names, position = label.

    Returns:
        counts by place; classes: counts by split and class; greatest_deviation: of a class's share in a split from its
        share in all of them; groups: their total, and how many straddle two splits, which is always 0; overlap: unused
        images by the part that the source gave them to and the part that holds their like.

    Raises:
        RuntimeError: a group straddles two splits.
    """
    names, kinds = np.unique(manifest["label"].fillna(-1).to_numpy(np.int64), return_inverse=True)
    cells = np.zeros((len(PLACES), len(names)), np.int64)
    np.add.at(cells, (places, kinds), 1)
    used = cells[:UNUSED]
    shares = used / np.maximum(used.sum(axis=1, keepdims=True), 1)
    deviations = np.abs(shares - used.sum(axis=0) / used.sum())[used.any(axis=1)]
    column = {label: i for i, label in enumerate(names.tolist())}
    return {
        "counts": dict(zip(PLACES, cells.sum(axis=1).tolist(), strict=True)),
        "classes": {
            PLACES[part]: {name: int(used[part, column[i]]) if i in column else 0 for i, name in enumerate(classes)}
            for part in (TRAIN, VAL, TEST)
        },
        "greatest_deviation": float(deviations.max()),
        **_measure_groups(manifest, places),
    }


def _measure_groups(manifest: pd.DataFrame, places: Integers) -> dict[str, Any]:
    codes, names = pd.factorize(manifest["group"])
    holds = np.zeros((len(names), len(PLACES)), bool)
    holds[codes, places] = True
    straddling = np.flatnonzero(holds[:, :UNUSED].sum(axis=1) > 1)
    if len(straddling):
        raise RuntimeError(f"{len(straddling)} duplicate groups straddle two splits, {names[straddling[0]]!r} for one")
    unused = places == UNUSED
    holder = holds[codes[unused], :UNUSED].argmax(axis=1)
    given = given_places(manifest)[unused]
    return {
        "groups": {"total": len(names), "straddling": len(straddling)},
        "overlap": {
            f"{PLACES[one]}_{PLACES[other]}": int(((given == one) & (holder == other)).sum())
            for one, other in ((TRAIN, VAL), (TRAIN, TEST), (VAL, TEST))
        },
    }


def compare(
    manifest: pd.DataFrame, places: Integers, images: NDArray[np.uint8], *, method: str, seed: int
) -> dict[str, Any]:
    """val and test held against train.

    Args:
        manifest: the columns id, group, label, given_split, brightness, contrast and entropy; N rows.
        places: of each row, (N,).
        images: (N, C, H, W), a memory map will do: at most 2,000 of a split are read, 16 MiB at a time.
        method: `split.method`.
        seed: the experiment's.

    Returns:
        For each of val and test: ks, the Kolmogorov-Smirnov distances of brightness and entropy between all images,
        and ks_p, the probability of as much or more between draws from one distribution (asymptotic; too small where
        images repeat each other); auc, of the classifier that tells it from train, with its 95 % interval, or None
        where there are too few images; fd_floor, the Fréchet distance from train in the same features, beside
        fd_train_halves, the one within train at the same size; both None below two images.
    """
    groups = pd.factorize(manifest["group"])[0].astype(np.int64)
    rows = np.concatenate(
        [_sample(manifest["id"], groups, np.flatnonzero(places == part), seed) for part in (TRAIN, VAL, TEST)]
    )
    with threadpool_limits(1):
        # One thread: with more, sums are taken in another order.
        points = principal_components(_pixels(images, rows))
        grey = manifest[list(_GREY_COLUMNS)].to_numpy(np.float64)[rows]
        features = np.hstack([points, grey])
        labels = manifest["label"].iloc[rows].fillna(-1).to_numpy(np.int64)
        given = given_places(manifest)
        compared = {}
        for part in (VAL, TEST):
            both = (places[rows] == TRAIN) | (places[rows] == part)
            second = places[rows[both]] == part
            by_class = method == "stratified" and not (given == part).any()
            auc = classifier_auc(features[both], second, labels[both] * by_class)
            draw = np.random.default_rng(hashed_seed(seed, f"split/halves/{PLACES[part]}"))
            distances = frechet_floor(points[places[rows] == TRAIN], points[places[rows] == part], draw)
            between, within = distances or (None, None)
            compared[PLACES[part]] = {
                **_kolmogorov_smirnov(manifest, places, part),
                "auc": auc and vars(auc),
                "fd_floor": between,
                "fd_train_halves": within,
            }
    return compared


def _kolmogorov_smirnov(manifest: pd.DataFrame, places: Integers, part: int) -> dict[str, dict[str, float]]:
    distances, probabilities = {}, {}
    for name in _KS_COLUMNS:
        values = manifest[name].to_numpy(np.float64)
        result = ks_2samp(values[places == TRAIN], values[places == part], method="asymp")
        distances[name], probabilities[name] = float(result.statistic), float(result.pvalue)
    return {"ks": distances, "ks_p": probabilities}


def _sample(ids: "pd.Series[str]", groups: Integers, rows: Integers, seed: int) -> Integers:
    """At most 2,000 of `rows`, in the order of a hash of their ids: the first of each group."""
    hashed = rows[np.argsort(hashes(ids.array[rows], seed, "split/sample"), kind="stable")]
    firsts = np.unique(groups[hashed], return_index=True)[1]
    return hashed[np.sort(firsts)[:_SAMPLE]]


def _pixels(images: NDArray[np.uint8], rows: Integers) -> NDArray[np.float64]:
    """The box-averaged images of `rows`; read in the order of the file, a block at a time."""
    order = np.argsort(rows, kind="stable")
    block = max(_BLOCK_BYTES * len(images) // images.nbytes, 1)
    blocks = [box_averaged(images[rows[order[i : i + block]]]) for i in range(0, len(rows), block)]
    pixels = np.concatenate(blocks)
    pixels[order] = pixels.copy()
    return pixels


def enforce(metrics: dict[str, Any], *, class_deviation: float | None, ks: float | None, auc: float | None) -> None:
    """Refuse a split that exceeds a limit of `split.limits`; None: no limit.

    Args:
        metrics: of `measure` and `compare` together.
        class_deviation, ks: on the greatest of them.
        auc: on the lower end of the intervals.

    Raises:
        UserError: the message has the key, the value and the limit.
    """
    found = [
        ("class_deviation", class_deviation, metrics["greatest_deviation"], "a class's share of a split is off by")
    ]
    for part in ("val", "test"):
        for name, distance in metrics[part]["ks"].items():
            found.append(("ks", ks, distance, f"the {name} of {part} and train is apart by"))
        if metrics[part]["auc"]:
            low = metrics[part]["auc"]["low"]
            found.append(("auc", auc, low, f"a classifier tells {part} from train with an AUC of at least"))
    for key, limit, value, what in found:
        if limit is not None and value > limit:
            raise UserError(
                f"params.yaml: {what} {value:.6g}, and split.limits.{key} allows {limit:g}; look at the data, or raise "
                "the limit (null: only report)"
            )
