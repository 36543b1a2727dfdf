"""Where the processes compute, and so how they exchange tensors: all decide alike, because all know where all are."""

import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch.distributed import Store  # type: ignore[attr-defined]

from rediffuse.errors import UserError
from rediffuse.params import RuntimeParams
from rediffuse.runtime import device_type, gpu_names

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Place:
    """Where one process computes.

    Args:
        machine: the same text for all processes of a machine.
        kind: "cpu" or "cuda".
        gpus: those that it sees, by names that are the same for all; empty on the CPU.
    """

    machine: str
    kind: str
    gpus: tuple[str, ...]


def shared_places(rank: int, count: int, runtime: RuntimeParams, store: Store) -> list[Place]:
    """The places of all processes, in their order, where each does what process 0's `runtime.device` says.

    Raises:
        UserError: one has no such device, or computes on another kind than process 0.
    """
    if rank == 0:
        store.set("device", runtime.device)
    kind = device_type(runtime.model_copy(update={"device": store.get("device").decode()}))
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    mine = Place(f"{socket.gethostname()} {boot}", kind, tuple(gpu_names()) if kind == "cuda" else ())
    store.set(f"place-{rank}", json.dumps(asdict(mine)))
    told = [json.loads(store.get(f"place-{other}")) for other in range(count)]
    places = [Place(each["machine"], each["kind"], tuple(each["gpus"])) for each in told]
    for other, place in enumerate(places):
        if place.kind != places[0].kind:
            raise UserError(
                f"process {other} of {count} would compute on {place.kind}, process 0 on {places[0].kind}; all must "
                "be the same: set runtime.device to cpu, or start them where each finds a GPU"
            )
    return places


def has_own_gpu(places: Sequence[Place], rank: int) -> bool:
    """Whether each process on the machine of this one can have a GPU of its own."""
    here = neighbours(places, rank)
    return len({gpu for each in here for gpu in places[each].gpus}) >= len(here)


def neighbours(places: Sequence[Place], rank: int) -> list[int]:
    """The processes on the machine of this one, itself included."""
    return [other for other, place in enumerate(places) if place.machine == places[rank].machine]


def backend(places: Sequence[Place]) -> str:
    """Torch's backend: NCCL, which can't share a GPU, only where every process has one of its own."""
    own = places[0].kind == "cuda" and all(has_own_gpu(places, rank) for rank in range(len(places)))
    return "cpu:gloo,cuda:nccl" if own else "gloo"
