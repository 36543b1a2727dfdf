"""The commands `make serve` and `make demo`: a model on an address, until it is asked to end."""

import argparse
import asyncio
import logging
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.address import bound, is_loopback, url_of
from rediffuse.serving.api import ApiSettings, create_app
from rediffuse.serving.api.metrics import Metrics
from rediffuse.serving.api.settings import LOOPBACK
from rediffuse.serving.batching import Batcher
from rediffuse.serving.jobs.runner import Jobs
from rediffuse.serving.jobs.store import JobStore
from rediffuse.serving.models import Models, Served, default_source, source
from rediffuse.serving.token import VARIABLE, token_of
from rediffuse.workspace import Workspace

_CONNECTIONS = 512  # at once; more are answered with 503
_GRACE = 5  # seconds for answers that are on their way, once the server is asked to end


def main(arguments: list[str] | None = None) -> int:
    """Serve; 0 after SIGTERM or SIGINT, or with a line on stderr 2 (a user's mistake) or 75 (a store is away)."""
    options = _parser().parse_args(arguments)
    try:
        _serve(options)
    except (UserError, TryAgainError) as error:
        sys.stderr.write(f"serving: {' '.join(str(error).split())}\n")
        return error.exit_code
    except KeyboardInterrupt:
        # Before it served; from then on the server takes the signal.
        return 0
    return 0


def _serve(options: argparse.Namespace) -> None:
    # What can be wrong at once is looked at before a model is loaded.
    token = token_of(options.token_file)
    if token is None and not is_loopback(options.host):
        raise UserError(
            f"--host: {options.host} is open to others, and there is no token; name a file of one with --token-file, "
            f"or set {VARIABLE}, or use 127.0.0.1"
        )
    settings = ApiSettings(
        count=options.most_images,
        steps=options.most_steps,
        waiting=max(options.most_waiting, options.most_images),
        patience=options.patience,
        timeout=2 * options.patience,
        hosts=(*LOOPBACK, options.host.lower()),
        token=token,
    )
    metrics = Metrics()
    with closing(bound(options.host, options.port)) as listening:
        served = source(options.model) if options.model else default_source()
        models = Models(served, beside=[source(each) for each in options.beside], poll=options.poll)
        with closing(models):
            models.start()
            batcher = Batcher(most_waiting=settings.waiting, told=metrics)
            jobs = Jobs(JobStore(options.jobs), models, batcher, at_once=settings.waiting)
            app = create_app(models, batcher, settings, metrics=metrics, jobs=jobs)
            batcher.start()
            with closing(batcher), closing(jobs):
                jobs.start()
                address = url_of(options.host, listening)
                _run(_Server(_config(app), batcher, _Said(models.current(), address, options.open)), listening)


@dataclass(frozen=True)
class _Said:
    """What is printed once the server answers."""

    served: Served
    address: str
    opened: bool

    def __call__(self) -> None:
        version = f", version {self.served.version}" if self.served.version else ""
        identity = self.served.answers.identity[:12]
        sys.stdout.write(f"{self.served.name}{version} ({identity}) on {self.address}\n")
        sys.stdout.flush()
        if self.opened:
            # In a process of its own: a browser may write anything, wait for its window, or not be there.
            quiet = subprocess.DEVNULL
            command = [sys.executable, "-m", "webbrowser", self.address]
            with suppress(OSError):
                subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def _config(app: FastAPI) -> uvicorn.Config:
    # One worker: a second process would load the model again, fill batches of its own by half, and take the same cores.
    # No access log: a path may hold what somebody should not have written there; /metrics counts.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return uvicorn.Config(
        app,
        workers=1,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE,
    )


class _Server(uvicorn.Server):
    """Says when it answers, and tells who waits that it ends."""

    def __init__(self, config: uvicorn.Config, batcher: Batcher, said: _Said) -> None:
        super().__init__(config)
        self._batcher, self._said = batcher, said

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        if self.started:
            self._said()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which waits for answers: those that are not drawn yet become 503."""
        await asyncio.to_thread(self._batcher.close)
        await super().shutdown(sockets)


def _run(server: _Server, listening: socket.socket) -> None:
    # uvicorn ends well, and then raises the signal anew for whoever had it before: that is nobody.
    for asking in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asking, lambda *_: None)
    server.run(sockets=[listening])


def _parser() -> argparse.ArgumentParser:
    limits = ApiSettings()
    parser = argparse.ArgumentParser(
        prog="python -m rediffuse.serving",
        description="Serve a model: an API and a page. A token for others than this machine may also stand in the "
        f"environment variable {VARIABLE}.",
    )
    parser.add_argument(
        "--model",
        metavar="SOURCE",
        help="models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID, a packed model's folder, or a .safetensors file; "
        "default: the registered model's champion, else models/denoiser.safetensors",
    )
    parser.add_argument(
        "--beside",
        metavar="SOURCE",
        action="append",
        default=[],
        help="another model that may be asked for by its name, as it stands now; may be given several times",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: %(default)s")
    parser.add_argument("--port", type=_port, default=8000, help="default: %(default)s; 0: any that is free")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="that holds the token that clients show")
    parser.add_argument(
        "--poll",
        metavar="SECONDS",
        type=_positive,
        default=5.0,
        help="between looks for a newer model; %(default)g",
    )
    parser.add_argument(
        "--most-images", metavar="N", type=_count, default=limits.count, help="of one request; default: %(default)s"
    )
    parser.add_argument(
        "--most-steps", metavar="N", type=_count, default=limits.steps, help="of one image; default: %(default)s"
    )
    parser.add_argument(
        "--most-waiting", metavar="N", type=_count, default=limits.waiting, help="images in the queue; %(default)s"
    )
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=_positive,
        default=limits.patience,
        help="until drawing must begin, and half of what it may take in all; default: %(default)g",
    )
    parser.add_argument(
        "--jobs",
        metavar="FOLDER",
        type=Path,
        default=Workspace.here().state / "jobs",
        help="where batch jobs are kept, one server's alone; default: .pipeline/jobs",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser, where there is one")
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and text.isascii() and int(text) < 2**16:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port; 0 to 65535 is allowed")


def _count(text: str) -> int:
    if text.isdecimal() and text.isascii() and 1 <= int(text) <= 10**6:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number from 1 to 1000000 is")


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= 86_400:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; above 0, up to 86400 seconds is")


if __name__ == "__main__":
    sys.exit(main())
