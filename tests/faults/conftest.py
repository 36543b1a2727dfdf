from tests.pipeline.conftest import finished, make_repository, trained  # noqa: F401
