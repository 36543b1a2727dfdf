"""The queue before a model: one thread draws, in batches of the images of all who ask."""

from rediffuse.serving.batching.batcher import Batcher, Told
from rediffuse.serving.batching.ticket import BusyError, ClosedError, PatienceError, Progress, Ticket

__all__ = ["Batcher", "BusyError", "ClosedError", "PatienceError", "Progress", "Ticket", "Told"]
