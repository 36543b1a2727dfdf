"""What a step sees, wherever the split lies."""

import numpy as np
import pytest
import torch

from rediffuse.data.arrays import ArrayWriter, map_examples
from rediffuse.randomness import generator
from rediffuse.training import resident
from rediffuse.training.batches import Batches
from rediffuse.training.order import Order

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [3, 37, 64])
def test_the_order_is_that_of_passes_one_after_the_other(count: int):
    order = Order(seed=3, count=count, batch_size=24, microbatch=8)
    passes = [torch.randperm(count, generator=generator(3, "train/order", epoch)) for epoch in range(240 // count + 1)]
    rows = np.concatenate([order.rows(step, index) for step in range(10) for index in range(3)])
    assert rows.tolist() == torch.cat(passes)[:240].tolist()


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("count", [3, 37])
def test_a_split_on_the_device_gives_the_bytes_of_one_that_is_read(tmp_path, monkeypatch, count: int, labelled: bool):
    # A row at a time, so that the parts are put together as well.
    monkeypatch.setattr(resident, "CHUNK", 50)
    with ArrayWriter(tmp_path / "examples.npy", (1, 4, 4)) as writer:
        writer.extend(np.random.default_rng(0).integers(0, 256, (count, 1, 4, 4), dtype=np.uint8))
    given = {}
    for kept in (False, True):
        made = Batches(
            map_examples(tmp_path / "examples.npy"),
            np.arange(count) % 3 if labelled else None,
            seed=0,
            batch_size=12,
            microbatch=4,
            device=CPU,
            resident=kept,
        )
        with made.stream(2, 9, (1, 2)) as stream:
            given[kept] = [
                (x.dtype, x.numpy().tobytes(), None if y is None else (y.dtype, y.tolist())) for x, y in stream
            ]
    assert len(given[True]) == 14
    assert given[True] == given[False]


def test_a_split_is_kept_where_it_takes_its_share_of_a_gpus_room_at_most(monkeypatch):
    images, labels = np.zeros((10, 1, 8, 8), np.uint8), np.zeros(10, np.int64)
    gpu = torch.device("cuda", 0)
    for free, kept in ((4 * 720, True), (4 * 720 - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 10**9))
        assert resident.fits(images, labels, gpu) is kept
        assert not resident.fits(images, labels, CPU)
