"""Each code of the catalogue as a problem: its status, its form, and the very words of the command line."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ibkit.cli.output import error_object
from ibkit.error_catalogue import CATALOGUE
from ibkit.errors import IbkitError
from ibkit.service.openapi import document
from ibkit.service.problems import PROBLEM_JSON, Problem, problem_of

pytestmark = pytest.mark.requirement("ERR-01", "ERR-02")
OF_OURS = {"E-APP-AUTH"}
"""The product's own sign-in: what 401 is for."""


HEALTH = ("/readyz", "/health", "/health/broker", "/health/broker/{connection_id}")


def told(code: str) -> tuple[Any, Any, IbkitError]:
    error = IbkitError(code=code, details={"thing": "order"})
    reply = problem_of(error, trace_id="0123456789abcdef", path="/x")
    return reply, json.loads(reply.body), error


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_a_code_has_its_status_its_form_and_the_command_lines_words(code: str) -> None:
    reply, body, error = told(code)
    assert reply.status == CATALOGUE[code].http
    assert reply.headers["Content-Type"] == PROBLEM_JSON
    assert reply.headers["X-Trace-Id"] == body["error"]["trace_id"]
    read = msgspec.convert(body, Problem)  # no member more, none less
    assert read.status == reply.status
    assert read.type.endswith(code)
    cli = error_object(error)
    assert (read.error.code, read.error.message, read.error.remedy) == (code, cli["message"], cli["remedy"])
    assert read.detail == f"{cli['message'].rstrip('.')}. {cli['remedy'][0]}"
    assert read.error.remedy, "a remedy for each"


def test_401_is_the_products_own_sign_in_and_a_brokers_is_424_or_503() -> None:
    by_status = {code: entry.http for code, entry in CATALOGUE.items()}
    assert {code for code, status in by_status.items() if status == 401} == OF_OURS
    assert told("E-APP-AUTH")[0].headers["WWW-Authenticate"] == "Bearer"
    for code in ("E-GW-NOAUTH", "E-SES-EXPIRED", "E-SES-COMPETING", "E-AUTH-FAILED", "E-OA1-LST", "E-OA2-TOKEN"):
        assert by_status[code] == 424, code
    for code in ("E-GW-DOWN", "E-API-CONNECT", "E-MAINT", "E-CIRCUIT"):
        assert by_status[code] == 503, code


def test_every_operation_promises_this_form_for_each_of_its_refusals() -> None:
    """Each status from 400 on, of each operation; but where somebody asks for the health, 503 is the answer itself."""
    described, seen = document(), 0
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if int(status) < 400 or (status == "503" and path in HEALTH):
                    continue
                seen += 1
                schema = answer["content"][PROBLEM_JSON]["schema"]
                assert schema["$ref"].endswith("/Problem"), (method, path, status)
    assert seen > 100
    problem = described["components"]["schemas"]["Problem"]
    assert set(problem["required"]) == {"type", "title", "status", "detail", "error"}
    assert set(described["components"]["schemas"]["ProblemError"]["required"]) == {
        "code", "message", "remedy", "trace_id", "details",
    }  # fmt: skip
