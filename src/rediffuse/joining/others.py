"""The processes that process 0 starts: how they tell it what became of them, and what that makes of the stage."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from rediffuse.errors import TryAgainError, UserError
from rediffuse.runtime import GIVEN_GPU

# Seconds in which a process whose neighbour died learns of it from the exchange itself, and can end by the usual way.
GRACE = 3.0
POLL = 0.2
PARENT = "REDIFFUSE_PARENT"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_PIPE = "REDIFFUSE_PIPE"
_DONE = b"done"
# Characters, of up to 6 bytes each: a pipe holds 64 KiB before somebody reads.
_LONGEST = 10_000


class Others:
    """The processes that process 0 started, and a thread that watches over them.

    Args:
        module: what they run.
        count: of all processes, this one included.
    """

    def __init__(self, module: str, count: int) -> None:
        self.module, self.count = module, count
        self.started: list[_Other] = []
        self._over = threading.Event()
        self._turn = threading.Lock()

    def start(self, port: int, gpus: Sequence[int]) -> None:
        """Start them.

        Args:
            port: of process 0's store.
            gpus: taken for all, which share them where there are too few; none on the CPU.
        """
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), PARENT: str(os.getpid())}
        # A signal to all that comes while they start must not end them: they unblock it once they can ignore it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for rank in range(1, self.count):
                self.started.append(self._started(rank, address | _numbers(rank, self.count, gpus)))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        threading.Thread(target=self._watch, daemon=True).start()

    def _started(self, rank: int, environment: dict[str, str]) -> "_Other":
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", self.module, *sys.argv[1:]],
                # Process 0 says what there is to say, and torch is silent where its neighbour is gone.
                env={"TORCH_CPP_LOG_LEVEL": "ERROR"} | os.environ | environment | {_PIPE: str(writer)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[writer],
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return _Other(rank, process, reader)

    def casualty(self, within: float) -> Exception | None:
        """What the stage must end with, if one ends in so many seconds before it has done its part."""
        deadline = time.monotonic() + within
        while True:
            with self._turn:
                ended = [other for other in self.started if other.process.poll() and not other.done()]
            # Of one that was killed, the rest have errors.
            for other in sorted(ended, key=lambda other: other.process.returncode > 0):
                return other.failure(self.count)
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL / 4)

    def _watch(self) -> None:
        while not self._over.wait(POLL):
            error = self.casualty(within=0)
            # An exchange on a GPU, or the start of the group, would wait for the dead for ever.
            if error and not self._over.wait(GRACE):
                sys.stderr.write(f"stage {self.module.rpartition('.')[2]}: {error}\n")
                sys.stderr.flush()
                # Nothing is lost: every file is written whole or not at all.
                os._exit(getattr(error, "exit_code", 1))

    def wait(self) -> None:
        """Let them end by themselves: they have no more to do."""
        self._over.set()
        for other in self.started:
            with suppress(subprocess.TimeoutExpired):
                other.process.wait(timeout=10 * GRACE)

    def end(self) -> None:
        """End those that are left."""
        self._over.set()
        for other in self.started:
            other.process.kill()
            other.process.wait()
        with self._turn:
            while self.started:
                os.close(self.started.pop().reader)


@dataclass
class _Other:
    """One of them.

    Args:
        reader: of the pipe that it tells its end through.
    """

    rank: int
    process: "subprocess.Popen[bytes]"
    reader: int
    _heard: bytes = b""

    def done(self) -> bool:
        """Whether it has told that it is needed no more; hears all that it has told."""
        with suppress(BlockingIOError):
            self._heard += os.read(self.reader, 1 << 16)
        return self._heard.startswith(_DONE)

    def failure(self, count: int) -> Exception:
        """What its early end means for the stage: the same that it meant for this process."""
        code = self.process.returncode
        name = f"process {self.rank} of {count}"
        told = None
        # It may have been killed while it told.
        with suppress(ValueError):
            told = json.loads(self._heard)["text"]
        if code < 0 or code == TryAgainError.exit_code:
            how = f"was killed (signal {-code})" if code < 0 else f"ended with exit code {code}"
            kept = f"{name} {how}; the last checkpoint is kept, the same command goes on"
            return TryAgainError(f"{name}: {told}" if told else kept)
        if code == UserError.exit_code:
            return UserError(f"{name}: {told}" if told else f"{name} ended with exit code {code}; it has said why")
        return RuntimeError(f"{name} has failed:\n{told}" if told else f"{name} ended with exit code {code}")


class Told:
    """What one of the others tells process 0 about its end, where process 0 has started it."""

    def __init__(self) -> None:
        number = os.environ.pop(_PIPE, None)
        self._pipe = None if number is None else int(number)
        if self._pipe is not None:
            # Not the business of what this process starts.
            os.set_inheritable(self._pipe, False)

    def done(self) -> None:
        """This process has done its part, and is needed no more."""
        if self._pipe is not None:
            os.write(self._pipe, _DONE)

    def failed(self, error: BaseException) -> None:
        """End with that error's exit code, and let process 0 say what happened; without one, return."""
        if self._pipe is None or isinstance(error, SystemExit):
            return
        code = getattr(error, "exit_code", None)
        text = " ".join(str(error).split()) if code else "".join(traceback.format_exception(error)).rstrip()
        os.write(self._pipe, json.dumps({"text": text[-_LONGEST:]}).encode())
        os._exit(code or 1)


def _numbers(rank: int, count: int, gpus: Sequence[int]) -> dict[str, str]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    if gpus:
        numbers[GIVEN_GPU] = gpus[rank % len(gpus)]
    return {name: str(number) for name, number in numbers.items()}
