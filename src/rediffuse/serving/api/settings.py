"""What a server allows, and how long it waits."""

from dataclasses import dataclass, field

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """Limits of the API, beside those of the model that answers.

    Args:
        count: images of one request.
        steps: of one image; where the model's own are more, those.
        evaluations: of the network for one request, with what pads its batches; where one batch with the model's own
            settings takes more, as many. The default is 30 s on two cores for a network of size `small` at 28×28,
            a quarter of `timeout`.
        guidance: greatest absolute value of the scale.
        temperature: greatest.
        waiting: images that may wait to be drawn; the batcher refuses more.
        body: bytes of a request's body.
        patience: seconds until its first image must be begun; then it is answered with 503.
        timeout: seconds until its last one must be drawn.
        hosts: names that the header Host may give; None: any. A page of another site whose name is made to point at
            this machine (DNS rebinding) gives its own name.
        token: that requests must show; None: nobody asks.
    """

    count: int = 64
    steps: int = 250
    evaluations: int = 50_000
    guidance: float = 20.0
    temperature: float = 2.0
    waiting: int = 1024
    body: int = 8 * 2**20
    patience: float = 60.0
    timeout: float = 120.0
    hosts: tuple[str, ...] | None = LOOPBACK
    token: str | None = field(default=None, repr=False)
