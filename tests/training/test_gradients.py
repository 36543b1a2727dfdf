"""The gradient of a step, by torch's own data parallelism."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch.distributed import HashStore

from rediffuse.training.batches import Batches
from rediffuse.training.gradients import Exact, Fast
from rediffuse.training.trainer import TrainingState, train
from tests.training.test_training import CPU, examples, model, train_params


@pytest.fixture
def group() -> Iterator[None]:
    """This process as the only one of a group."""
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_the_buckets_of_the_first_step_are_those_of_every_other():
    """Where a number lies in its bucket decides the order in which it is added to those of the other processes."""
    ours, params, steps = model(), train_params(steps=3), []
    state, exact = TrainingState.new(ours, params), TrainingState.new(model(), params)
    names = {weights: name for name, weights in state.trained.named_parameters()}
    fast = Fast(state.trained, 2)
    assert all(weights.grad is None for weights in names)

    def noted(told: list, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        told.append((bucket.index(), [names[each] for each in bucket.parameters()]))
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    told: list = []
    fast.module.register_comm_hook(told, noted)
    batches = Batches(examples().images, examples().labels, seed=0, batch_size=8, microbatch=4, device=CPU)
    for _ in train(state, ours, batches=batches, params=params, seed=0, gradients=fast):
        steps.append(sorted(told))
        told.clear()
    assert steps[0] == steps[1] == steps[2]
    assert {name for _, held in steps[0] for name in held} == set(names.values())
    # And to find them out changes no number.
    for _ in train(
        exact, ours, batches=batches, params=params, seed=0, gradients=Exact(list(exact.trained.parameters()), 2)
    ):
        pass
    for a, b in zip(state.trained.parameters(), exact.trained.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
