"""Where the model that is served comes from, and what is served when a better one is there."""

from rediffuse.serving.models.edition import Edition, Listing, Source
from rediffuse.serving.models.served import Models, Served
from rediffuse.serving.models.source import default_source, source

__all__ = ["Edition", "Listing", "Models", "Served", "Source", "default_source", "source"]
