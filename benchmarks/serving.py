"""What a server adds to the sampler: time for an image, images a second from many clients, failures, memory.

    python -m benchmarks.serving --model models/denoiser.safetensors

A server is started as `make serve` starts it and asked over HTTP. "sampler" is the same model asked in a process of its
own, without a server, for as many images at once, before and after; the ratio is by the medians. Then --clients ask at
once for --requests images in all, each with a seed of its own: how many are answered, how many are told to come again
later (429: they do, and are counted), what else they get, and the server's memory after each quarter.
"""

import base64
import io
import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks import command, memory_of
from benchmarks.command import Report
from rediffuse.serving.models import source
from rediffuse.serving.models.edition import load
from rediffuse.serving.request import ImageRequest, wanted

_ADDRESS = re.compile(r"http://([\d.]+):(\d+)")
COUNT = 16
"""Images of a request whose time is compared with the sampler's."""


@dataclass(frozen=True)
class Server:
    """A server on this machine.

    Args:
        host, port: where it answers.
        process: its process.
    """

    host: str
    port: int
    process: psutil.Process

    def ask(self, body: dict[str, Any], connection: HTTPConnection | None = None) -> tuple[int, dict[str, Any]]:
        """The status of a request for images, and its JSON."""
        asked = connection or self.connection()
        asked.request("POST", "/v1/images", json.dumps(body), {"Content-Type": "application/json"})
        answer = asked.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) | {"retry": answer.headers.get("Retry-After")}

    def connection(self) -> HTTPConnection:
        """A new one."""
        return HTTPConnection(self.host, self.port, timeout=300)

    def mebibytes(self) -> float:
        """What it holds now."""
        return float(self.process.memory_info().rss / 2**20)


@contextmanager
def served(model: str) -> Iterator[Server]:
    """A server of this model, until the block ends."""
    asked = [sys.executable, "-m", "rediffuse.serving", "--model", model, "--port", "0"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = _ADDRESS.search(line)
            if found is None:
                raise RuntimeError(f"the server said {line!r}")
            yield Server(found[1], int(found[2]), psutil.Process(process.pid))
        finally:
            process.terminate()


def sampler_times(model: str, count: int, rounds: int) -> dict[str, Any]:
    """Seconds for so many images without a server, of each round, and the first round's pixels."""
    answers = load(source(model).newest())
    asked = wanted(ImageRequest(seed=0, count=count), answers, most=count)
    seconds, images = [], []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        images = answers.images(asked)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[1:], "images": np.stack(images)}


def request_times(server: Server, count: int, rounds: int) -> tuple[list[float], np.ndarray]:
    """Seconds from the request to the last byte of its answer, of each round, and the images."""
    connection, seconds = server.connection(), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        status, answer = server.ask({"seed": 0, "count": count}, connection)
        seconds.append(time.perf_counter() - start)
        if status != 200:
            raise RuntimeError(f"{status}: {answer}")
    return seconds[1:], np.stack([_pixels(image["png"]) for image in answer["images"]])


def crowd(server: Server, clients: int, requests: int) -> tuple[Counter[str], float]:
    """What many clients get who ask one after the other, each again when it is told to; and the seconds of all."""

    def client(mine: Sequence[int]) -> Counter[str]:
        got: Counter[str] = Counter()
        connection = server.connection()
        for seed in mine:
            while True:
                status, answer = server.ask({"seed": seed}, connection)
                got[str(status)] += 1
                if status != 429:
                    break
                time.sleep(float(answer["retry"] or 1))
        return got

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(client, [range(first, requests, clients) for first in range(clients)]))
    return sum(parts, Counter()), time.perf_counter() - start


def _pixels(content: str) -> np.ndarray:
    """C×H×W, of a PNG in base64."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    parser.add_argument("--model", default="models/denoiser.safetensors", help="a source, as `make serve` takes it")
    parser.add_argument("--rounds", type=int, default=20, help="requests whose time is taken")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=2000, help="of all clients, each for one image")
    options = command.parsed(parser, argv)
    report = Report.of(options, command.device_of(options))

    alone = partial(memory_of.in_process, sampler_times, options.model, COUNT, options.rounds)
    first = alone()
    with served(options.model) as server:
        asked, images = request_times(server, COUNT, options.rounds)
        memory, got, seconds = [server.mebibytes()], Counter[str](), 0.0
        for _ in range(4):
            more, took = crowd(server, options.clients, options.requests // 4)
            got, seconds = got + more, seconds + took
            memory.append(server.mebibytes())
    pure = first["seconds"] + alone()["seconds"]
    ordered = sorted(asked)
    found = {
        "images a request": COUNT,
        "sampler ms an image": 1e3 * statistics.median(pure) / COUNT,
        "server ms an image": 1e3 * statistics.median(asked) / COUNT,
        "ratio": statistics.median(asked) / statistics.median(pure),
        "server ms a request, 95 %": 1e3 * ordered[int(0.95 * len(ordered))],
        "same pixels": bool(np.array_equal(images, first["images"])),
        "clients": options.clients,
        "answers by status": dict(got),
        "images a second": got["200"] / seconds,
        "memory MiB": memory,
    }
    report.keep(serving=found)
    command.say("\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
