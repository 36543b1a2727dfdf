"""One planted data set with every kind of finding, surveyed once for all tests that only read."""

from dataclasses import replace
from pathlib import Path

import pytest

from rediffuse.survey.assembly import assemble
from rediffuse.survey.report import DataReport
from rediffuse.survey.tables import Tables
from rediffuse.workspace import Workspace
from tests.data.planted import encoded, params_with, pixels
from tests.survey.planted_tables import Image, kept, write_workspace

CLASSES = ("cat", "dog & <b>co</b>", "$x_{1$")
HOSTILE = 'bad/<script>alert("1")</script>\n\u202ex.png'
SPLIT_METRICS = {
    "greatest_deviation": 0.0125,
    "val": {"ks": {"brightness": 0.25, "entropy": 0.125}, "ks_p": {}, "auc": None, "fd_floor": None},
    "test": {
        "ks": {"brightness": 0.5, "entropy": 0.0625},
        "auc": {"value": 0.75, "low": 0.625, "high": 0.875},
        "fd_floor": 1.5,
        "fd_train_halves": 1.25,
    },
}


def planted_images() -> list[Image]:
    """30 kept (22 train, 3 val, 3 test, 2 overlap), 2 quarantined, 20 dropped."""
    stay = [kept(number, label=number % 3) for number in range(30)]
    for number, split in enumerate(("val",) * 3 + ("test",) * 3 + ("overlap",) * 2):
        stay[number] = replace(stay[number], split=split)
    stay[10] = replace(stay[10], findings="near_duplicate")
    stay[11] = replace(stay[11], findings="near_duplicate", group=stay[10].id)
    for number, deviations in ((12, 9.5), (13, 12.0), (14, 8.25)):
        stay[number] = replace(stay[number], findings="dark class_outlier", deviations=deviations)
    for number, probability in ((15, 0.04), (16, 0.0125)):
        label = stay[number].label
        assert label is not None
        stay[number] = replace(
            stay[number], findings="label_suspect", probability=probability, suggestion=(label + 1) % 3
        )
    for number, done in ((17, "palette"), (18, "palette"), (19, "palette transparency")):
        stay[number] = replace(stay[number], converted=done)
    again = [
        Image(
            id=f"again/{number}.png",
            content=stay[20].content,
            label=stay[20].label,
            fate="rejected",
            reason="duplicate",
            detail=f"the same pixels as {stay[20].id}",
            group=stay[20].id,
        )
        for number in range(14)
    ]
    again[3] = replace(again[3], label=0, detail=f"{again[3].detail}, but labelled cat and not $x_{{1$")
    broken = [
        Image(id="broken/1.png", content=stay[0].content[:60], label=0, reason="damaged", detail="the PNG is cut off"),
        Image(id="broken/2.png", label=0, reason="damaged", detail="the checksum is wrong"),
        Image(id="broken/3.png", label=None, reason="empty", detail="0 bytes"),
        Image(id="large/1.png", content=b"BM", label=0, reason="too_many_pixels", detail="10^10 pixels"),
        Image(id="large/2.png", content=stay[21].content, label=0, reason="too_many_pixels", detail="64 pixels"),
        Image(id=HOSTILE, content=b"<html>", label=1, reason="unknown_format", detail="<i>no</i> image"),
    ]
    aside = [
        Image(
            id="wide.png",
            content=encoded(pixels(99, 16, 300)),
            label=1,
            fate="quarantined",
            reason="aspect_outlier",
            detail="300 × 16 pixels",
        ),
        Image(
            id="noise.png",
            content=encoded(pixels(98, 8, 8, 1)),
            label=2,
            fate="quarantined",
            reason="class_outlier",
            detail="20.00 deviations",
        ),
    ]
    return [*again[:7], *stay, *(replace(image, fate="rejected") for image in broken), *aside, *again[7:]]


def planted_workspace(root: Path) -> Workspace:
    return write_workspace(
        root, planted_images(), CLASSES, SPLIT_METRICS, origin="The <Zoo>", licence="CC0", retrieved="2026-11-20"
    )


def survey_of(workspace: Workspace, **changes: object) -> DataReport:
    params = params_with(**changes)
    return assemble(
        workspace,
        Tables.read(workspace),
        prepare=params.prepare,
        clean=params.clean,
        split=params.split,
        split_metrics=SPLIT_METRICS,
    )


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return planted_workspace(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="session")
def report(planted: Workspace) -> DataReport:
    return survey_of(planted)
