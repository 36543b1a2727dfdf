"""A model over HTTP: images, what a prompt means, what the model is, and how the server does."""

from rediffuse.serving.api.app import create_app
from rediffuse.serving.api.settings import ApiSettings

__all__ = ["ApiSettings", "create_app"]
