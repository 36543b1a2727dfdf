from tests.tracking.conftest import empty_database, workspace, written  # noqa: F401
