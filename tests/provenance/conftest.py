from tests.tracking.conftest import workspace, written  # noqa: F401
