"""How the processes that compute one stage start, find each other, and end.

The exit code of process 0 is the stage's. The others pay no heed to signals, because process 0 decides when to leave,
and end with it however it ends.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore, rendezvous  # type: ignore[attr-defined]

from rediffuse.errors import TryAgainError
from rediffuse.params import RuntimeParams
from rediffuse.processes import Processes
from rediffuse.runtime import GIVEN_GPU, device_type, take_gpus

# Process 0 may validate or save for long while the others wait; a process that died is noticed otherwise.
PATIENCE = timedelta(days=1)
# Seconds in which a process whose neighbour died learns of it from the exchange itself, and can end by the usual way.
GRACE = 3.0
POLL = 0.2
ENDED = "ended"
PARENT = "REDIFFUSE_PARENT"
LOCAL_COUNT = "LOCAL_WORLD_SIZE"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@contextmanager
def joined(module: str, runtime: RuntimeParams) -> Iterator[Processes]:
    """Be one of the processes that compute a stage.

    Where torchrun (or another launcher that sets RANK and WORLD_SIZE) started this process, it joins the group of that
    launcher. Else this is process 0; it starts `runtime.processes` - 1 others on this machine, and none for 1.

    Args:
        module: what `python -m` runs to be one of the others, "stages.train".
        runtime: the section `runtime`.

    Raises:
        TryAgainError: one of the others died.
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
    # The kernel picks a free port, so no other program can take it in between.
    store = TCPStore("127.0.0.1", 0, count, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    gpus: list[int] = []
    if device_type(runtime) == "cuda":
        gpus = take_gpus(min(count, torch.cuda.device_count()))
    others = _Others(module, count, store.port, gpus)
    try:
        with _group(0, count, runtime, store), _announced_end(store):
            yield
        others.wait()
    except Exception as error:
        # An exchange fails at once when a neighbour dies. What the user must know is that it died.
        line = None if hasattr(error, "exit_code") else others.casualty(within=GRACE / 2)
        if line:
            raise TryAgainError(line) from error
        raise
    finally:
        others.end()
        # Nobody is at the other end now, so nothing is waited for. Left for later, gloo's threads abort the process.
        if dist.is_initialized() and "nccl" not in dist.get_backend_config():
            with suppress(RuntimeError):
                dist.destroy_process_group()


class _Others:
    """The processes that process 0 started, and a thread that watches over them.

    Args:
        module: what they run.
        count: of all processes, this one included.
        port: of process 0's store.
        gpus: taken for all, which share them where there are too few; none on the CPU.
    """

    def __init__(self, module: str, count: int, port: int, gpus: Sequence[int]) -> None:
        self.module, self.count = module, count
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), PARENT: str(os.getpid())}
        # A signal to all that comes while they start must not end them: they unblock it once they can ignore it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.started = [
                subprocess.Popen(
                    [sys.executable, "-m", module, *sys.argv[1:]],
                    # Process 0 says what there is to say, and torch is silent where its neighbour is gone.
                    env={"TORCH_CPP_LOG_LEVEL": "ERROR"} | os.environ | address | _numbers(rank, count, gpus),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
                for rank in range(1, count)
            ]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def casualty(self, within: float) -> str | None:
        """The line about one that died, if one does in so many seconds."""
        deadline = time.monotonic() + within
        while True:
            for rank, process in enumerate(self.started, start=1):
                if code := process.poll():
                    how = f"was killed (signal {-code})" if code < 0 else f"ended with exit code {code}"
                    return (
                        f"process {rank} of {self.count} {how}; the last checkpoint is kept, the same command goes on"
                    )
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL / 4)

    def _watch(self) -> None:
        while not self._over.wait(POLL):
            line = self.casualty(within=0)
            # An exchange on a GPU, or the start of the group, would wait for the dead for ever.
            if line and not self._over.wait(GRACE):
                sys.stderr.write(f"stage {self.module.rpartition('.')[2]}: {line}\n")
                sys.stderr.flush()
                # Nothing is lost: every file is written whole or not at all.
                os._exit(TryAgainError.exit_code)

    def wait(self) -> None:
        """Let them end by themselves: they have no more to do."""
        self._over.set()
        for process in self.started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10 * GRACE)

    def end(self) -> None:
        """End those that are left."""
        self._over.set()
        for process in self.started:
            process.kill()
            process.wait()


@contextmanager
def _one_of_the_others(rank: int, count: int, runtime: RuntimeParams) -> Iterator[None]:
    # Whatever watched for signals so far watches no more.
    signal.set_wakeup_fd(-1)
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
    with _group(rank, count, runtime, store):
        try:
            yield
        except BaseException:
            # Process 0 has most likely met the same, or has ended: then it has said so, and this one is silent.
            if _has_ended(store):
                os._exit(0)
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
    backend = "gloo"
    if device_type(runtime) == "cuda":
        local, here = (int(os.environ.get(name, other)) for name, other in (("LOCAL_RANK", rank), (LOCAL_COUNT, count)))
        gpus = torch.cuda.device_count()
        if gpus >= here:
            backend = "cpu:gloo,cuda:nccl"
        elif local and PARENT not in os.environ:
            # The first process on this machine has taken them.
            os.environ[GIVEN_GPU] = str(local % gpus)
    if os.environ.get("MASTER_ADDR", "127.0.0.1") in ("127.0.0.1", "localhost"):
        # Else gloo asks the DNS for this machine's name, which may not be known there.
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
        if loopback:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    yield store
    # After an error the others may be in the middle of an exchange: then the group ends with the process.
    dist.destroy_process_group()


def _launchers_store() -> Store:
    """The store of the launcher that MASTER_ADDR and MASTER_PORT name."""
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    store.set_timeout(PATIENCE)
    return PrefixStore("rediffuse", store)


def _numbers(rank: int, count: int, gpus: Sequence[int]) -> dict[str, str]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, LOCAL_COUNT: count}
    if gpus:
        numbers[GIVEN_GPU] = gpus[rank % len(gpus)]
    return {name: str(number) for name, number in numbers.items()}
