"""What all tests share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _threads() -> None:
    """The networks here are so small that a second thread costs more than it gives, most of all on a busy machine."""
    torch.set_num_threads(1)
