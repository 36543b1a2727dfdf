"""What OpenAPI says of the API is so: schemathesis, with all its checks, finds nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from tests.serving.api.conftest import Api

TOKEN = "a-token-of-thirty-two-characters"

# OpenAPI can't say which words a prompt may hold, or which fields go together, and a valid form may ask for a PNG of
# many images: such a refusal is an answer that is described, too.
CONFIG = SchemathesisConfig.from_dict(
    {
        "headers": {"Authorization": f"Bearer {TOKEN}"},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "406", "413", "415", "422", "429", "503"]},
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
        },
    }
)


def fuzzed(api: Api, examples: int) -> dict[int, int]:
    """Calls each operation with so many valid and invalid requests, and checks each answer; answers by status."""
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", api.app, config=CONFIG, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    statuses: dict[int, int] = {}
    # Found is found: to shorten what was found, and a store of it, would take time and a place.
    how = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for result in schema.get_all_operations():
        operation = result.ok()

        @how
        @given(cases(operation))
        def check(case: Any) -> None:
            answer = case.call_and_validate()
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1

        check()
    return statuses


def cases(operation: Any) -> st.SearchStrategy[Any]:
    """Valid requests, and such with something wrong."""
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))


def api_to_fuzz(make_api: Callable[..., Api], folder: Path) -> Api:
    return make_api(jobs=folder, count=2, steps=4, token=TOKEN, body=2**16)


def test_a_short_fuzz_finds_nothing(make_api: Callable[..., Api], tmp_path: Path) -> None:
    statuses = fuzzed(api_to_fuzz(make_api, tmp_path), 4)
    assert max(statuses) < 500


@pytest.mark.slow
def test_a_long_fuzz_finds_nothing(make_api: Callable[..., Api], tmp_path: Path) -> None:
    statuses = fuzzed(api_to_fuzz(make_api, tmp_path), 300)
    assert {200, 422} <= set(statuses)
    assert max(statuses) < 500
