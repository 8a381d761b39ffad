"""The description of the interface: whole, closed, true, and held to by generated requests."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from ibkit.error_catalogue import CATALOGUE
from ibkit.service.openapi import document
from ibkit.service.order_wish import OrderWish
from service_desks import Served

EXAMPLES = int(os.environ.get("IBKIT_FUZZ_EXAMPLES", "4"))
"""For each operation; `make fuzz-http` takes many more."""


def objects(schema: Any) -> Any:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    if isinstance(schema, list):
        for value in schema:
            yield from objects(value)


@pytest.mark.requirement("ERR-02")
def test_every_object_is_closed_and_every_operation_has_its_errors() -> None:
    told = document()
    assert told["openapi"].startswith("3.1")
    found = list(objects(told["components"]["schemas"]))
    assert len(found) > 10
    assert all(each["additionalProperties"] is False for each in found)
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            assert operation["responses"], (path, method)
            if operation["security"]:
                problem = operation["responses"]["401"]["content"]["application/problem+json"]
                assert problem["schema"]["$ref"].endswith("/Problem")


def test_every_schema_has_a_name_of_its_own() -> None:
    """Two structs of one name are told by the names of their modules, and what refers to them leads nowhere."""
    told = document()
    names = set(told["components"]["schemas"])
    assert [name for name in names if "." in name] == []
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(told, default=str))) <= names


def test_the_examples_are_orders_that_are_taken() -> None:
    body = document()["paths"]["/broker-order"]["post"]["requestBody"]["content"]["application/json"]
    for name, example in body["examples"].items():
        assert OrderWish.read(example["value"]).symbol, name


def test_the_file_in_the_docs_is_this_description() -> None:
    file = Path(__file__).parents[2] / "docs" / "openapi.json"
    assert json.loads(file.read_text()) == json.loads(json.dumps(document(), default=str))


def test_what_is_served_is_this_description_and_every_route_is_in_it(mock_service: Served) -> None:
    served = mock_service.ask("GET", "/openapi.json", token=None).json
    assert served == json.loads(json.dumps(document(), default=str))
    for path, operations in served["paths"].items():
        if "{" in path or path.endswith("events"):
            continue
        for method in operations:
            status = mock_service.ask(method.upper(), path, token=None).status
            assert status not in (404, 405), (method, path)


@pytest.fixture(scope="session")
def generated(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """How often each answer was given to what was generated; told at the end of `make fuzz-http`."""
    answers: Counter[str] = Counter()
    yield answers
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    if "IBKIT_FUZZ_EXAMPLES" in os.environ and capture is not None:
        told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{answers.total()} generated requests: {told}\n")


HOUSE = schemathesis.openapi.from_dict(json.loads(json.dumps(document(), default=str)))


@pytest.mark.requirement("ERR-02", "GWY-04")
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")  # of the library's own strategies
@HOUSE.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_no_generated_request_makes_a_fault_and_every_refusal_has_a_code(
    case: Any, mock_service: Served, generated: Counter[str]
) -> None:
    if case.path.endswith("/events") and case.method == "GET":
        case.query = {"since": "never"}  # a stream that is let in does not end
    case.headers = {**(case.headers or {}), "Authorization": "Bearer ada"}
    answer = case.call(base_url=mock_service.address, timeout=60)
    generated[str(answer.status_code)] += 1
    allowed_to_be_down = case.path in ("/readyz", "/health", "/health/broker", "/health/broker/{connection_id}")
    assert answer.status_code < 500 or allowed_to_be_down, answer.text
    if answer.status_code >= 400 and not allowed_to_be_down and case.method != "HEAD":
        told = json.loads(answer.text)
        assert told["error"]["code"] in CATALOGUE
        assert told["error"]["code"] != "E-INTERNAL", answer.text
        assert "Traceback" not in answer.text
