"""The API against requests made from its own OpenAPI document, right ones and wrong ones.

`make fuzz` makes many more of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import CHECKS

from kit.api import Api, running_api
from portico.api.openapi import text

EXAMPLES = int(os.environ.get("PORTICO_FUZZ_EXAMPLES", "6"))
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
schema = schemathesis.openapi.from_path(DOCUMENT)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="PORTICO_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
def test_every_answer_is_one_that_the_document_tells(api: Api, case: Case) -> None:
    case.call_and_validate(
        headers={"Authorization": f"Bearer {api.key}", "ngrok-version": "2"},
        app=api.app,
        checks=[CHECKS.get_one(name) for name in CHECKED],
    )


def test_the_document_is_the_committed_one() -> None:
    assert DOCUMENT.read_text("utf-8") == text()
