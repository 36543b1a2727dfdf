"""Case 12, the clock: stages that run in another year write the same bytes."""

import sys

import pytest

from rediffuse import files
from tests.data.planted import contents
from tests.repository import Repository

# Before the stages are imported, so that whoever says `from time import time` has this clock too.
YEARS_LATER = """
import datetime, time

SHIFT = 20 * 365 * 86400
real = {name: getattr(time, name) for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime")}
time.time = lambda: real["time"]() + SHIFT
time.time_ns = lambda: real["time_ns"]() + SHIFT * 10**9
for name in ("localtime", "gmtime", "ctime"):
    def shifted(seconds=None, name=name):
        return real[name](time.time() if seconds is None else seconds)
    setattr(time, name, shifted)
time.strftime = lambda format, when=None: real["strftime"](format, when or time.localtime())

# These know the layout of the classes that are replaced below.
import matplotlib.figure, pandas, pyarrow, sklearn, torch

class Datetime(datetime.datetime):
    __slots__ = ()

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)

    @classmethod
    def today(cls):
        return cls.now()

class Date(datetime.date):
    __slots__ = ()

    @classmethod
    def today(cls):
        return cls.fromtimestamp(time.time())

datetime.datetime, datetime.date = Datetime, Date
assert time.localtime().tm_year == datetime.datetime.now().year == datetime.date.today().year > 2040

import stages
from rediffuse.stage import run_stage
from stages.evaluate import evaluate
from stages.sample import sample
from stages.survey import survey
from stages.train import train

for stage in (survey, train, sample, evaluate):
    run_stage(stage, live=stage is train)
"""


@pytest.mark.slow
def test_stages_that_run_twenty_years_later_write_the_same_bytes(trained: Repository):
    trained.edit(**{"  tracking: true": "  tracking: false"})
    folders = ("models", "plots", "samples", "reports")
    before = {folder: contents(trained.path / folder) for folder in folders}
    metrics = {name: files.read_json(trained.workspace.metrics(name)) for name in ("train", "sample", "evaluate")}
    assert all(before.values())
    for folder, made in before.items():
        for name in made.keys() - {".gitignore"}:
            (trained.path / folder / name).unlink()
    for name in metrics:
        trained.workspace.metrics(name).unlink()
    assert trained.run(sys.executable, "-c", YEARS_LATER) == ""
    assert {folder: contents(trained.path / folder) for folder in folders} == before
    assert {name: files.read_json(trained.workspace.metrics(name)) for name in metrics} == metrics
