"""How the processes that compute one stage start, find each other, and end.

The exit code of process 0 is the stage's. The others pay no heed to signals, because process 0 decides when to leave,
and end with it however it ends.
"""

import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore, rendezvous  # type: ignore[attr-defined]

from rediffuse.joining.others import GRACE, PARENT, POLL, SIGNALS, Others, Told
from rediffuse.joining.places import backend, has_own_gpu, neighbours, shared_places
from rediffuse.leaving import unwatch
from rediffuse.params import RuntimeParams
from rediffuse.processes import Processes
from rediffuse.runtime import GIVEN_GPU, device_type, take_gpus

# Process 0 may validate or save for long while the others wait; a process that died is noticed otherwise.
PATIENCE = timedelta(days=1)
ENDED = "ended"


@contextmanager
def joined(module: str, runtime: RuntimeParams) -> Iterator[Processes]:
    """Be one of the processes that compute a stage.

    Where torchrun (or another launcher that sets RANK and WORLD_SIZE) started this process, it joins the group of that
    launcher. Else this is process 0; it starts `runtime.processes` - 1 others on this machine, and none for 1.

    Args:
        module: what `python -m` runs to be one of the others, "stages.train".
        runtime: the section `runtime`.

    Raises:
        TryAgainError: one of the others was killed, or met what another try may not.
        UserError: one of the others met what the user must change, or they can't exchange values.
        RuntimeError: one of the others failed; its traceback is in the message.
    """
    if PARENT in os.environ or {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if count == 1:
            yield Processes()
        elif rank == 0:
            with _group(rank, count, runtime, _launchers_store()) as store, _announced_end(store):
                yield Processes(rank, count)
        else:
            with _one_of_the_others(rank, count, runtime):
                yield Processes(rank, count)
    elif runtime.processes == 1:
        yield Processes()
    else:
        with _first_with_others(module, runtime):
            yield Processes(0, runtime.processes)


@contextmanager
def _first_with_others(module: str, runtime: RuntimeParams) -> Iterator[None]:
    count = runtime.processes
    store = _own_store(count)
    gpus: list[int] = []
    if device_type(runtime) == "cuda":
        gpus = take_gpus(min(count, torch.cuda.device_count()))
    others = Others(module, count)
    try:
        others.start(store.port, gpus)
        with _group(0, count, runtime, store), _announced_end(store):
            yield
        others.wait()
    except Exception as error:
        # An exchange fails at once when a neighbour dies. What the user must know is why it died.
        failure = None if hasattr(error, "exit_code") else others.casualty(within=GRACE / 2)
        if failure:
            raise failure from error
        raise
    finally:
        others.end()
        # Nobody is at the other end now, so nothing is waited for. Left for later, gloo's threads abort the process.
        if dist.is_initialized() and "nccl" not in dist.get_backend_config():
            with suppress(RuntimeError):
                dist.destroy_process_group()


@contextmanager
def _one_of_the_others(rank: int, count: int, runtime: RuntimeParams) -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # Process 0 alone is asked to leave. If this one left first, the others would wait for it in the next exchange.
    unwatch()
    for number in SIGNALS:
        # Not SIG_IGN, which the processes that this one starts would inherit.
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    warnings.simplefilter("ignore")
    threading.Thread(target=_end_with, args=[int(os.environ.get(PARENT, os.getppid()))], daemon=True).start()
    if PARENT in os.environ:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store: Store = TCPStore(address, port, count, is_master=False, timeout=PATIENCE)
    else:
        store = _launchers_store()
    told = Told()
    try:
        with _group(rank, count, runtime, store):
            yield
            told.done()
    except BaseException as error:
        # Process 0 has most likely met the same, or has ended: then it has said so, and this one is silent.
        if _has_ended(store):
            os._exit(0)
        told.failed(error)
        raise


def _has_ended(store: Store) -> bool:
    """Whether process 0 ends, or has ended, within the grace."""
    deadline = time.monotonic() + GRACE
    try:
        while not store.check([ENDED]) and time.monotonic() < deadline:
            time.sleep(POLL)
        return bool(store.check([ENDED]))
    except RuntimeError:
        # Its store is gone with it.
        return True


def _end_with(parent: int) -> None:
    """End this process when the one that started it has ended, also by a kill that nobody can catch."""
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)


@contextmanager
def _announced_end(store: Store) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(RuntimeError):
            store.set(ENDED, "1")
        raise


@contextmanager
def _group(rank: int, count: int, runtime: RuntimeParams, store: Store) -> Iterator[Store]:
    """Torch's default group of these processes; NCCL where each has a GPU of its own."""
    places = shared_places(rank, count, runtime, store)
    local = neighbours(places, rank).index(rank)
    if places[rank].gpus and local and not has_own_gpu(places, rank) and PARENT not in os.environ:
        # The first process on this machine has taken them.
        os.environ[GIVEN_GPU] = str(local % len(places[rank].gpus))
    if os.environ.get("MASTER_ADDR", "127.0.0.1") in ("127.0.0.1", "localhost"):
        # Else gloo asks the DNS for this machine's name, which may not be known there.
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
        if loopback:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    dist.init_process_group(backend(places), store=store, rank=rank, world_size=count, timeout=PATIENCE)
    yield store
    # After an error the others may be in the middle of an exchange: then the group ends with the process.
    dist.destroy_process_group()


def _own_store(count: int) -> TCPStore:
    """A store for processes of this machine; left to itself it would listen to all that reach the machine."""
    listening = socket.socket()
    # The kernel picks a free port, so no other program can take it in between.
    listening.bind(("127.0.0.1", 0))
    listening.listen(max(128, count))
    port = listening.getsockname()[1]
    return TCPStore(
        "127.0.0.1",
        port,
        count,
        is_master=True,
        wait_for_workers=False,
        timeout=PATIENCE,
        master_listen_fd=listening.detach(),
    )


def _launchers_store() -> Store:
    """The store of the launcher that MASTER_ADDR and MASTER_PORT name."""
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    store.set_timeout(PATIENCE)
    return PrefixStore("rediffuse", store)
