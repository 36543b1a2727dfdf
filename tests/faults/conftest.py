from tests.tracking.conftest import _own_store, empty_database  # noqa: F401
