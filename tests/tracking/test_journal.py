"""What survives on disk, whoever dies or fills it up meanwhile."""

import math
import os
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from rediffuse.tracking.journal import Journal, held, waiting
from rediffuse.tracking.records import (
    Artifact,
    Begin,
    Data,
    End,
    Points,
    Record,
    Summaries,
    Tags,
    Told,
    Weights,
    decode,
    encode,
)
from rediffuse.workspace import Workspace

KEY = "0123456789abcdef" * 4
RECORDS: list[Record] = [
    Begin(key=KEY, name="digits", experiment=None, params={"seed": "0"}, tags={"a": "ü\ud800"}),
    Points(points=[("train/loss", 20, math.inf), ("train/loss", 40, 0.1)], repeatable=False),
    Summaries(values={"fidelity/fd": 1.5}, model="abc"),
    Artifact(folder="previews", file="files/1/a.png"),
    Tags(values={"stage.train": "cached"}, default=True),
    Data(source="digits", digest="1-2", files={"a": "b"}, card={"classes": ["x"]}),
    Weights(path="models/a", md5="1", sha256="2"),
    End(status="FINISHED", tags={"rediffuse.finished": "register"}),
]


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path)


def records(journal: Journal) -> list[Record | None]:
    return [line.told.record if line.told else None for line in journal.unsent()]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_one_line_and_comes_back_as_it_was(record: Record) -> None:
    line = encode(Told(1_700_000_000_123, record))
    assert line.count(b"\n") == 1
    told = decode(line)
    assert told is not None
    # Tuples become lists.
    assert encode(told) == line
    assert (told.at, type(told.record)) == (1_700_000_000_123, type(record))


@pytest.mark.parametrize("line", [b"", b"{", b"3", b"[1]", b'{"at": 1, "kind": "later"}', b'{"at": 1, "kind": "end"}'])
def test_a_line_that_this_code_can_not_read_is_no_record(line: bytes) -> None:
    assert decode(line) is None


def test_a_line_cut_short_by_a_kill_is_left_and_those_before_it_count(place: Workspace) -> None:
    journal = Journal.begin(place, KEY)
    for record in RECORDS:
        journal.append(record)
    path = journal.folder / "records.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    assert len(records(journal)) == len(RECORDS) - 1


def test_after_a_full_disk_the_next_record_stands_on_a_line_of_its_own(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.begin(place, KEY)
    journal.append(RECORDS[0])
    with monkeypatch.context() as patch:
        write = os.write
        patch.setattr("os.write", lambda file, line: write(file, line[:9]))
        with pytest.raises(OSError, match="disk is full"):
            journal.append(RECORDS[1])
    journal.append(RECORDS[2])
    assert records(journal) == [RECORDS[0], None, RECORDS[2]]


def test_what_was_sent_is_remembered_and_a_spoilt_memory_means_all_again(place: Workspace) -> None:
    journal = Journal.begin(place, KEY)
    for record in RECORDS[2:5]:
        journal.append(record)
    first = next(journal.unsent())
    journal.note_sent(first.end, "run")
    journal.release()
    with held(place, journal.folder) as again:
        assert again is not None
        assert (records(again), again.run_id) == (RECORDS[3:5], "run")
    (journal.folder / "mirror.json").write_bytes(b"")
    with held(place, journal.folder) as again:
        assert again is not None
        assert (records(again), again.run_id) == (RECORDS[2:5], None)


def test_one_process_at_a_time_holds_a_journal_and_the_kernel_frees_it(place: Workspace) -> None:
    child = os.fork()
    if child == 0:
        Journal.begin(place, KEY).append(RECORDS[0])
        os._exit(0)
    os.waitpid(child, 0)
    (folder,) = waiting(place)
    with held(place, folder) as journal:
        assert journal is not None
        assert records(journal) == [RECORDS[0]]
        with held(place, folder) as second:
            assert second is None
        journal.remove()
    assert waiting(place) == []
    with held(place, folder) as gone:
        assert gone is None


def test_journals_are_listed_oldest_first_and_by_their_key(place: Workspace) -> None:
    folders = [Journal.begin(place, key).folder for key in (KEY, "f" * 64, KEY)]
    assert waiting(place) == folders
    assert waiting(place, KEY) == [folders[0], folders[2]]


def test_a_journal_is_newer_than_those_before_it_also_when_the_clock_was_set_back(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Journal.begin(place, "f" * 64).folder

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2001, 1, 1, tzinfo=tz)

    monkeypatch.setattr("rediffuse.tracking.journal.datetime", Earlier)
    folders = [first, *(Journal.begin(place, key).folder for key in (KEY, "0" * 64))]
    assert waiting(place) == folders
    assert folders[1].name[:15] == first.name[:15]


def test_a_kept_file_is_what_it_was_then(place: Workspace) -> None:
    journal = Journal.begin(place, KEY)
    report = place.root / "report.html"
    kept = []
    for content in (b"first", b"second"):
        report.write_bytes(content)
        kept.append(journal.folder / journal.keep(report.name, report))
    assert [path.read_bytes() for path in kept] == [b"first", b"second"]
    assert {path.name for path in kept} == {"report.html"}
    journal.forget_file(Artifact(folder="reports", file=kept[0].relative_to(journal.folder).as_posix()))
    assert [path.exists() for path in kept] == [False, True]
