"""The queue: who is drawn when, with whom, until when; and that nobody's images depend on it."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rediffuse.serving.answers import Answers, Moment
from rediffuse.serving.batching import Batcher, BusyError, ClosedError, PatienceError, Progress
from rediffuse.serving.package import write_parts
from rediffuse.workspace import Workspace
from tests.serving.tiny import CLASSES, asked, loaded, tiny, trained

STEPS = 4
LONG = 60.0  # seconds until a test that hangs fails; none waits for it


class Drawn:
    """Draws (kind, number) as an image full of its number; a test lets it go on, step by step or for good."""

    def __init__(self, batch_size: int = 4) -> None:
        self.batch_size, self.shape = batch_size, (1, 2, 2)
        self.runtime, self.device = SimpleNamespace(threads=1), torch.device("cpu")
        self.batches: list[list[int]] = []
        self.steps = self.closed = 0
        self.turns = threading.Semaphore(0)
        self.reached = threading.Semaphore(0)  # a turn is waited for
        self.errors: list[BaseException] = []
        self.on_step: Callable[[], None] = lambda: None

    def kind(self, wanted: Any) -> str:
        return str(wanted[0])

    def moments(self, wanted: Sequence[Any]) -> Iterator[Moment]:
        assert len({each[0] for each in wanted}) == 1
        assert len(wanted) <= self.batch_size
        self.batches.append([number for _, number in wanted])
        try:
            for done in range(STEPS + 1):
                self.reached.release()
                assert self.turns.acquire(timeout=LONG)
                self.on_step()
                if self.errors:
                    raise self.errors.pop()
                self.steps += 1
                added = 100 if done == STEPS else 0
                pictures = np.stack([np.full(self.shape, number + added, np.uint8) for _, number in wanted])
                yield Moment(done, STEPS, float(STEPS - done), lambda pictures=pictures: pictures)
        finally:
            self.closed += 1

    def go(self, steps: int = 10_000) -> None:
        self.turns.release(steps)

    def at_turn(self) -> None:
        assert self.reached.acquire(timeout=LONG)


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture
def batcher(drawn: Drawn) -> Iterator[Batcher]:
    """Begins to draw when the test starts it."""
    made = Batcher(most_waiting=20)
    yield made
    drawn.go()
    made.close()


def many(kind: str, *numbers: int) -> list[Any]:
    return [(kind, number) for number in numbers]


def numbers(images: Sequence[np.ndarray]) -> list[int]:
    return [int(image.flat[0]) for image in images]


def test_batches_are_of_one_kind_first_come_first_served_and_background_last(drawn: Drawn, batcher: Batcher) -> None:
    other = Drawn()
    quiet = batcher.submit(drawn, many("a", 70, 71, 72), background=True)
    tickets = [
        batcher.submit(drawn, [("a", 1), ("b", 2), ("a", 3)]),
        batcher.submit(other, many("a", 80)),
        batcher.submit(drawn, many("b", 4, 5, 6, 7)),
        batcher.submit(drawn, many("a", 8)),
    ]
    drawn.go()
    other.go()
    batcher.start()
    assert [numbers(ticket.result(LONG)) for ticket in tickets] == [
        [101, 102, 103],
        [180],
        [104, 105, 106, 107],
        [108],
    ]
    assert numbers(quiet.result(LONG)) == [170, 171, 172]
    # A place of the first batch that nobody wants is the background's; its others come when all else is drawn.
    assert drawn.batches == [[1, 3, 8, 70], [2, 4, 5, 6], [7], [71, 72]]
    assert other.batches == [[80]]
    assert batcher.waiting == 0


def test_a_batch_that_nobody_wants_any_more_stops_before_its_next_step(drawn: Drawn, batcher: Batcher) -> None:
    batcher.start()
    one, two = batcher.submit(drawn, many("a", 1)), None
    drawn.at_turn()
    two, three = (batcher.submit(drawn, many("a", number)) for number in (2, 3))
    gone = batcher.submit(drawn, many("a", 4))
    gone.cancel()
    assert batcher.waiting == 2
    drawn.go(STEPS + 1)
    assert numbers(one.result(LONG)) == [101]
    for _ in range(STEPS):
        drawn.at_turn()
    drawn.at_turn()
    drawn.go(1)
    two.cancel()
    drawn.at_turn()
    assert drawn.steps == STEPS + 2
    # Somebody still waits for the other; then nobody.
    three.cancel()
    last = batcher.submit(drawn, many("a", 5))
    drawn.go(1)
    drawn.at_turn()
    assert drawn.batches == [[1], [2, 3], [5]]
    assert (drawn.steps, drawn.closed) == (STEPS + 3, 2)
    drawn.go()
    assert numbers(last.result(LONG)) == [105]
    for ticket in (two, three, gone):
        with pytest.raises(CancelledError):
            ticket.result(0)


def test_a_full_queue_says_when_to_come_again_and_keeps_room_for_people_beside_jobs(
    drawn: Drawn, batcher: Batcher
) -> None:
    batcher.submit(drawn, many("a", *range(20)), background=True)
    first = batcher.submit(drawn, many("a", *range(19)))
    batcher.submit(drawn, many("a", 19))
    for background in (False, True):
        with pytest.raises(BusyError, match="20 images wait already") as busy:
            batcher.submit(drawn, many("a", 20), background=background)
        assert 1 <= busy.value.retry_after <= 60
    first.cancel()
    batcher.submit(drawn, many("a", *range(19)))
    with pytest.raises(ValueError, match="21 images; at most 20 may wait"):
        batcher.submit(drawn, many("a", *range(21)))
    assert batcher.submit(drawn, []).result(0) == []


def test_who_was_not_begun_in_time_is_told_so_while_others_are_drawn(drawn: Drawn) -> None:
    now = [0.0]
    batcher = Batcher(most_waiting=20, clock=lambda: now[0])
    long = batcher.submit(drawn, many("a", 1, 2, 3, 4, 5), patience=5)
    late = batcher.submit(drawn, many("b", 6), patience=5)
    patient = batcher.submit(drawn, many("b", 7), patience=50)
    batcher.start()
    drawn.at_turn()
    now[0] = 6.0
    drawn.go(1)
    with pytest.raises(PatienceError):
        late.result(LONG)
    drawn.go()
    # Begun in time, it is drawn to its end.
    assert numbers(long.result(LONG)) == [101, 102, 103, 104, 105]
    assert numbers(patient.result(LONG)) == [107]
    assert drawn.batches == [[1, 2, 3, 4], [5], [7]]
    batcher.close()


def test_what_drawing_raises_is_told_to_its_batch_alone(drawn: Drawn, batcher: Batcher) -> None:
    batcher.start()
    for error in (ValueError("no"), MemoryError()):
        drawn.errors.append(error)
        hit = batcher.submit(drawn, many("a", 1, 2, 3, 4, 5))
        beside = batcher.submit(drawn, many("b", 6))
        drawn.go(STEPS + 2)
        with pytest.raises(type(error)):
            hit.result(LONG)
        assert numbers(beside.result(LONG)) == [106]
    # Nor do those suffer who are drawn beside one whose page is gone.

    def gone(_: Progress) -> None:
        raise RuntimeError("gone")

    while drawn.reached.acquire(blocking=False):
        pass
    batcher.submit(drawn, many("c", 0))
    drawn.at_turn()
    away = batcher.submit(drawn, many("a", 1), seen=gone, frames=2)
    beside = batcher.submit(drawn, many("a", 2))
    drawn.go()
    with pytest.raises(RuntimeError, match="gone"):
        away.result(LONG)
    assert numbers(beside.result(LONG)) == [102]


def test_the_end_of_the_thread_is_told_to_all_and_seen_from_outside(
    drawn: Drawn, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    assert not batcher.alive
    tickets = [batcher.submit(drawn, many("a", *range(4))), batcher.submit(drawn, many("b", 4))]
    batcher.start()
    assert batcher.alive
    drawn.errors.append(SystemExit())
    drawn.go()
    for ticket in tickets:
        with pytest.raises(ClosedError):
            ticket.result(LONG)
    assert not batcher.alive
    with pytest.raises(ClosedError):
        batcher.submit(drawn, many("a", 5))


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        # Levels 4, 3, 2, 1, 0 are angles 1.33, 1.25, 1.11, 0.79, 0: no step ends near a third of the first's way.
        (3, [(0, [1, 2]), (4, [101, 102])]),
        (5, [(0, [1, 2]), (3, [1, 2]), (4, [101, 102])]),
        (32, [(done, [1, 2]) for done in range(4)] + [(4, [101, 102])]),
        (1, [(0, [1, 2])]),
        (0, []),
    ],
)
def test_frames_are_spread_over_the_angle_with_the_noise_and_the_result(
    drawn: Drawn, batcher: Batcher, frames: int, expected: list[Any]
) -> None:
    seen: list[Progress] = []
    drawn.go()
    # Another's images stand in the same batch.
    other = batcher.submit(drawn, many("a", 9))
    ticket = batcher.submit(drawn, many("a", 1, 2), seen=seen.append, frames=frames)
    batcher.start()
    assert numbers(ticket.result(LONG)) == [101, 102]
    assert numbers(other.result(LONG)) == [109]
    assert [(each.done, numbers(each.images)) for each in seen] == expected
    assert {each.of for each in seen} <= {STEPS}


def test_progress_of_several_batches_shows_every_image_and_never_goes_back(drawn: Drawn, batcher: Batcher) -> None:
    seen: list[Progress] = []
    drawn.go()
    ticket = batcher.submit(drawn, many("a", *range(1, 7)), seen=seen.append, frames=32)
    batcher.start()
    ticket.result(LONG)
    assert [each.done for each in seen] == [0, 0, 1, 2, 2, 3, 3, 3, 4]
    assert numbers(seen[3].images) == [1, 2, 3, 4, 0, 0]
    assert numbers(seen[4].images) == [101, 102, 103, 104, 0, 0]
    assert numbers(seen[5].images) == [101, 102, 103, 104, 5, 6]
    assert numbers(seen[-1].images) == [101, 102, 103, 104, 105, 106]


def test_closing_ends_who_is_drawn_and_who_waits(drawn: Drawn) -> None:
    batcher = Batcher(most_waiting=20)
    batcher.start()
    now = batcher.submit(drawn, many("a", 1))
    drawn.at_turn()
    later = batcher.submit(drawn, many("b", 2))
    closing = threading.Thread(target=batcher.close)
    drawn.on_step = lambda: _until(lambda: batcher._closed)
    closing.start()
    drawn.go(1)
    closing.join(LONG)
    assert not batcher._thread.is_alive()
    for ticket in (now, later):
        with pytest.raises(ClosedError):
            ticket.result(0)
    assert (drawn.steps, drawn.closed) == (1, 1)
    with pytest.raises(ClosedError):
        batcher.submit(drawn, many("a", 3))


def _until(true: Callable[[], bool]) -> None:
    tick = threading.Event()
    while not true():
        tick.wait(0.001)


def test_a_client_of_asyncio_waits_and_takes_its_images_along_when_it_leaves(drawn: Drawn, batcher: Batcher) -> None:
    async def clients() -> list[int]:
        stays = asyncio.create_task(batcher.submit(drawn, many("a", 1)).wait())
        leaving = batcher.submit(drawn, many("b", 2))
        leaves = asyncio.create_task(leaving.wait())
        await asyncio.sleep(0)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        assert leaving.done()
        drawn.go()
        batcher.start()
        return numbers(await stays)

    assert asyncio.run(clients()) == [101]
    assert drawn.batches == [[1]]
    assert batcher.waiting == 0


def test_images_do_not_hold_those_of_others_that_were_drawn_beside_them(drawn: Drawn, batcher: Batcher) -> None:
    drawn.go()
    tickets = [batcher.submit(drawn, many("a", number)) for number in (1, 2)]
    batcher.start()
    assert all(image.base is None for ticket in tickets for image in ticket.result(LONG))


def test_a_ticket_that_is_done_is_held_by_nobody(drawn: Drawn, batcher: Batcher) -> None:
    drawn.go()
    batcher.start()
    gc.disable()
    try:
        tickets = [batcher.submit(drawn, many("a", number)) for number in range(3)]
        tickets[1].cancel()
        tickets[0].result(LONG), tickets[2].result(LONG)
        # The last batch is let go when the next one is begun.
        batcher.submit(drawn, many("b", 0)).result(LONG)
        held = [weakref.ref(ticket) for ticket in tickets]
        tickets.clear()
        assert [each() for each in held] == [None] * 3
    finally:
        gc.enable()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    """A tiny model that computes with two threads."""
    before = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("model")
    params = tiny(runtime__threads=2)
    write_parts(folder, trained(Workspace.at(folder), params, CLASSES), params.sample, params.runtime)
    yield loaded(folder)
    torch.set_num_threads(before)


def test_an_image_is_the_same_alone_and_amid_sixteen_others_in_the_thread_as_without(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [asked(answers, 3, index, towards=None) for index in range(17)]
    wanted[5] = asked(answers, 3, 5, settings={"sampler": "euler_maruyama"})
    alone = [answers.images([each])[0] for each in wanted]
    threads: list[int] = []
    moments = Answers.moments

    def noted(self: Answers, batch: Sequence[Any]) -> Iterator[Moment]:
        threads.append(torch.get_num_threads())
        return moments(self, batch)

    monkeypatch.setattr(Answers, "moments", noted)
    # A thread begins with the number that another was told last.
    torch.set_num_threads(1)
    batcher = Batcher(most_waiting=100)
    batcher.start()
    try:
        gate = threading.Barrier(17)
        tickets: dict[int, Any] = {}

        def client(number: int) -> None:
            gate.wait(LONG)
            tickets[number] = batcher.submit(answers, [wanted[number]]).result(LONG)

        clients = [threading.Thread(target=client, args=(number,)) for number in range(17)]
        for each in clients:
            each.start()
        for each in clients:
            each.join(LONG)
        for number, image in enumerate(alone):
            assert np.array_equal(tickets[number][0], image)
    finally:
        batcher.close()
    assert set(threads) == {2}


def test_those_who_shared_a_batch_share_the_next_one_and_who_asks_alone_does_not_wait(
    drawn: Drawn, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as they ask again within a moment, which here is as long as it takes."""
    monkeypatch.setattr("rediffuse.serving.batching.batcher._GATHER", 1e9)
    monkeypatch.setattr("rediffuse.serving.batching.batcher._GATHER_MOST", LONG)
    together = [batcher.submit(drawn, many("a", number)) for number in (1, 2)]
    drawn.go()
    batcher.start()
    assert [numbers(ticket.result(LONG)) for ticket in together] == [[101], [102]]
    again = [batcher.submit(drawn, many("a", number)) for number in (3, 4)]
    assert [numbers(ticket.result(LONG)) for ticket in again] == [[103], [104]]
    # One has gone: the other waits for it once, and no more.
    for number in (5, 6):
        monkeypatch.setattr("rediffuse.serving.batching.batcher._GATHER_MOST", LONG if number == 6 else 0.0)
        assert numbers(batcher.submit(drawn, many("a", number)).result(LONG)) == [100 + number]
    assert drawn.batches == [[1, 2], [3, 4], [5], [6]]
