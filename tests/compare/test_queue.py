"""What `dvc queue status` says."""

from rediffuse.compare.queue import parse_status

SHOWN = """Task     Name          Created       Status
e44632b  compare-flow  10:28 PM      Running
f656a75  compare-bad   Nov 21, 2026  Failed
acdbe37  compare-flow  10:20 PM      Failed
32b7407  compare-edm   10:33 PM      Queued

Worker status: 1 active, 1 idle
"""


def test_tasks_have_their_states_and_one_still_at_work_goes_before_an_ended_one_of_its_name():
    status = parse_status(SHOWN)
    assert status.tasks == {"compare-flow": "Running", "compare-bad": "Failed", "compare-edm": "Queued"}
    assert status.workers == 2
    assert status.waiting(["compare-edm", "compare-bad", "compare-flow"]) == ["compare-edm", "compare-flow"]


def test_an_empty_queue_has_neither_tasks_nor_workers():
    status = parse_status("No experiment tasks in the queue.\n\nWorker status: 0 active, 0 idle\n")
    assert (status.tasks, status.workers) == ({}, 0)
