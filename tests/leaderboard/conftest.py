from tests.tracking.conftest import _own_store  # noqa: F401
