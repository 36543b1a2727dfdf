"""A real server: a process of its own on a free port, as `make serve` starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

_URL = re.compile(r"http://\S+:\d+")
_LONGEST = 120.0  # seconds that a busy machine may take to load a tiny model


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Args:
        url: without a slash at its end.
        process: its process.
        log: the file of all that it printed and logged.
    """

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """The exit code of a server that is asked to end."""
        self.process.send_signal(with_signal)
        return self.process.wait(_LONGEST)


@contextmanager
def running(model: Path | str, log: Path, *options: str, **environment: str) -> Iterator[Server]:
    """A server of this model, told `options`; it is killed where it was not stopped.

    Args:
        model: a source: a `.safetensors` file, say.
        log: where it writes; a file that need not be there.
        environment: variables beside the own ones.
    """
    command = [sys.executable, "-m", "rediffuse.serving", "--model", str(model), "--port", "0", *options]
    path = os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT)])
    surroundings = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent, env=surroundings)
    try:
        yield Server(_address(process, log), process, log)
    finally:
        process.kill()
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The URL that it prints once it answers."""
    until = time.monotonic() + _LONGEST
    while time.monotonic() < until:
        if found := _URL.search(log.read_text()):
            return found.group()
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")
