"""The repositories of tests/pipeline, to do them harm."""

from tests.pipeline.conftest import finished, make_repository, trained

__all__ = ["finished", "make_repository", "trained"]
