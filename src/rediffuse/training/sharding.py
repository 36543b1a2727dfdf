"""A training state on several processes: the same on all of them, or sharded over them (FSDP2).

Sharded, each process keeps its share of every tensor: weights, averages, gradients and moments. A block's weights are
put together when it computes, and let go after. Files hold whole tensors, so that they are read by any number. Only
one tensor at a time is whole on a GPU: a state is made and read on the CPU, and put together there.
"""

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import HashStore  # type: ignore[attr-defined]

from rediffuse.diffusion import NetworkDenoiser
from rediffuse.errors import UserError
from rediffuse.model import Description
from rediffuse.params import TrainParams
from rediffuse.processes import Processes, wire
from rediffuse.training.ema import Averages
from rediffuse.training.tensors import module_tensors, restore, tensors_of
from rediffuse.training.trainer import TrainingState, new_optimizer

Record = dict[str, Any]


def share(state: TrainingState, record: Record | None, processes: Processes) -> Record | None:
    """Give every process the state of process 0, which may have read it from a checkpoint, and its record."""
    if processes.count == 1:
        return record
    held = dict(tensors_of(state)) if processes.first else {}
    listed = {name: (tensor.shape, tensor.dtype) for name, tensor in held.items()}
    listed, record, state.step = processes.broadcast((listed, record, state.step))
    device = wire(next(state.denoiser.parameters()).device)
    received = {}
    for name, (shape, dtype) in listed.items():
        sent = held[name].detach().to(device) if processes.first else torch.empty(shape, dtype=dtype, device=device)
        dist.broadcast(sent.contiguous() if processes.first else sent, src=0)
        received[name] = sent
    if not processes.first:
        restore(state, received)
    return record


@contextmanager
def sharded(state: TrainingState, params: TrainParams, device: torch.device) -> Iterator[list[nn.Module]]:
    """Shard the state over the processes for the block; afterwards weights and averages are whole again, on the CPU.

    Args:
        state: the same on all processes; changed in place. On the CPU, where it has more room.
        params: the section `train`.
        device: of the training.

    Yields:
        the modules that train.

    Raises:
        UserError: the processes share a GPU, which FSDP2 can't.
    """
    # torch's functions want a group, also of one process.
    alone = not dist.is_initialized()
    if not alone and wire(device) != device:
        raise UserError(
            "params.yaml: train.shard is true, but the processes share a GPU, which has no more room for being shared; "
            "start one process for each GPU"
        )
    if alone:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    try:
        weights = copy.deepcopy(state.denoiser)
        kept = [copy.deepcopy(average.denoiser) for average in state.averages.members]
        yield _shard(state, params, device)
        state.denoiser = _gathered(state.denoiser, weights)
        averages = zip(state.averages.members, kept, strict=True)
        state.averages = Averages(
            tuple(replace(average, denoiser=_gathered(average.denoiser, whole)) for average, whole in averages)
        )
    finally:
        if alone:
            dist.destroy_process_group()


def _gathered(denoiser: NetworkDenoiser, whole: NetworkDenoiser) -> NetworkDenoiser:
    """`whole` with the values of a denoiser that is sharded."""
    places = whole.state_dict()
    for name, tensor in module_tensors(denoiser):
        places[name].copy_(tensor.detach())
        del tensor
    return whole


def _shard(state: TrainingState, params: TrainParams, device: torch.device) -> list[nn.Module]:
    # Importing them takes a second, and few trainings need them.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    from torch.distributed.tensor import DTensor, distribute_tensor

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    moments = {name: state.optimizer.state.get(weights) for name, weights in state.trained.named_parameters()}

    def shard(module: nn.Module) -> nn.Module:
        fully_shard(module, mesh=mesh)
        return module

    def shard_blocks(network: nn.Module) -> list[nn.Module]:
        blocks = [block for held in network.children() if isinstance(held, nn.ModuleList) for block in held]
        return [shard(module) for module in [*blocks, network]]

    trained = shard_blocks(state.denoiser.network)
    for average in state.averages.members:
        shard_blocks(average.denoiser.network)
    if state.uncertainty is not None:
        trained.append(shard(state.uncertainty))
        register_fsdp_forward_method(state.uncertainty, "balance")

    state.guard.memory = state.guard.memory.to(device)
    state.optimizer = new_optimizer(state.trained, params)
    for name, weights in state.trained.named_parameters():
        assert isinstance(weights, DTensor)
        if held := moments[name]:
            state.optimizer.state[weights] = {
                # Each takes its own share of what all have.
                key: value.to(device)
                if key == "step"
                else distribute_tensor(value, mesh, weights.placements, src_data_rank=None)
                for key, value in held.items()
            }
    return trained


class Follower:
    """The writer of a process that is not the first: takes part where all are needed, and writes nothing.

    Args:
        needed: the state is sharded, so that its tensors are put together by all.
    """

    def __init__(self, *, needed: bool) -> None:
        self.needed = needed

    def save(self, state: TrainingState, record: Mapping[str, Any]) -> None:  # noqa: ARG002
        """See `checkpoint_writer.CheckpointWriter`."""
        if self.needed:
            deque(tensors_of(state), maxlen=0)

    def take_snapshot(self, state: TrainingState, description: Description) -> None:  # noqa: ARG002
        """See `checkpoint_writer.CheckpointWriter`."""
        if self.needed:
            for average in state.averages.members:
                deque(module_tensors(average.denoiser.network), maxlen=0)
