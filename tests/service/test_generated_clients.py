"""Clients that generators of strangers make of docs/openapi.json trade, and read refusals by their type."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service_desks import Served, new_key

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.json"
TYPESCRIPT = Path(__file__).with_name("typescript")

pytestmark = [pytest.mark.slow, pytest.mark.requirement("GWY-01", "ERR-02")]


def ran(words: list[str], *, folder: Path, env: dict[str, str] | None = None) -> str:
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    given = {**os.environ, "PATH": bin_first, **(env or {})}
    done = subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a Python package that openapi-python-client has made."""
    folder = tmp_path_factory.mktemp("python")
    name = "generated_ibkit_client"
    words = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(DESCRIPTION), "--meta", "none"]
    # It knows JSON, forms and bytes: a file of another type is bytes.
    files = dict.fromkeys(
        (
            "application/xml",
            "text/xml",
            "application/yaml",
            "text/csv",
            "application/x-pem-file",
            "application/zip",
        ),
        "application/octet-stream",
    )
    (folder / "config.json").write_text(json.dumps({"content_type_overrides": files}))
    words += ["--config", str(folder / "config.json"), "--output-path", str(folder / name), "--fail-on-warning"]
    told = ran(words, folder=folder)
    assert "pieces may be missing" not in told, told
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield name
    for each in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[each]


def parts(package: str) -> SimpleNamespace:
    def calls(name: str) -> Any:
        return importlib.import_module(f"{package}.api.default.{name}").sync_detailed

    models = importlib.import_module(f"{package}.models")
    return SimpleNamespace(
        client=importlib.import_module(package).AuthenticatedClient,
        models=models,
        place=calls("place_order"),
        show=calls("show_order"),
        listed=calls("list_orders"),
        change=calls("change_order"),
        cancel=calls("cancel_order"),
    )


def test_a_generated_python_client_places_reads_changes_and_cancels_an_order(
    package: str, mock_service: Served
) -> None:
    api = parts(package)
    models = api.models
    key = new_key()
    wish = models.OrderWish(
        broker="mock",
        action=models.OrderWishAction.BUY,
        symbol="AAPL",
        qty=1,
        order_type=models.OrderWishOrderType.LIMIT,
        limit_price=259.25,
    )
    with api.client(base_url=mock_service.address, token="ada") as client:
        placed = api.place(client=client, body=wish, idempotency_key=key)
        assert placed.status_code == 201, placed.content
        assert isinstance(placed.parsed, models.OrderAnswer)
        order = placed.parsed.data
        assert (order.price, order.status) == (259.25, models.OrderDataStatus.SUBMITTED)
        again = api.place(client=client, body=wish, idempotency_key=key)
        assert (again.status_code, again.parsed.cached, again.parsed.data.id) == (200, True, order.id)
        change = models.OrderChange(limit_price=259.5)
        changed = api.change(order.id, client=client, body=change, idempotency_key=new_key())
        assert changed.parsed.data.price == 259.5
        assert api.show(order.id, client=client).parsed.data.price == 259.5
        cancelled = api.cancel(order.id, client=client)
        assert cancelled.status_code in (200, 202)
        assert order.id in {each.id for each in api.listed(client=client, limit=200).parsed.data}


def test_a_generated_python_client_reads_refusals_by_their_type(package: str, mock_service: Served) -> None:
    api = parts(package)
    models = api.models
    wish = models.OrderWish(broker="mock", action=models.OrderWishAction.BUY, symbol="AAPL", qty=1_000_000)
    with api.client(base_url=mock_service.address, token="ada") as client:
        for answer, status, code in (
            (api.place(client=client, body=wish, idempotency_key=new_key()), 422, "E-RISK"),
            (api.place(client=client, body=wish, idempotency_key="short"), 400, "E-VALIDATION"),
            (api.show("ib-none", client=client), 404, "E-NOT-FOUND"),
        ):
            assert answer.status_code == status, answer.content
            assert isinstance(answer.parsed, models.Problem)
            error = answer.parsed.error
            assert (error.code, bool(error.message), len(error.remedy)) == (code, True, 1)
            assert error.trace_id == answer.headers["x-trace-id"]
    with api.client(base_url=mock_service.address, token="nobody") as stranger:
        refused = api.listed(client=stranger)
        assert (refused.status_code, refused.parsed.error.code) == (401, "E-APP-AUTH")


@pytest.mark.skipif(shutil.which("npm") is None, reason="Node.js with npm is not on this machine")
def test_generated_typescript_types_compile_and_trade(tmp_path: Path, mock_service: Served) -> None:
    folder = tmp_path / "client"
    shutil.copytree(TYPESCRIPT, folder, ignore=shutil.ignore_patterns("node_modules", "out", "api.d.ts"))
    ran(["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"], folder=folder)
    tools = folder / "node_modules" / ".bin"
    # A field with a default may be left out of a request.
    generate = [str(tools / "openapi-typescript"), str(DESCRIPTION), "--default-non-nullable", "false"]
    ran([*generate, "-o", "api.d.ts"], folder=folder)
    ran([str(tools / "tsc")], folder=folder)
    key = new_key()
    told = json.loads(
        ran(["node", "out/trade.js"], folder=folder, env={"BASE": mock_service.address, "TOKEN": "ada", "KEY": key})
    )
    assert (told["placed"], told["again"]) == (201, [200, True, True])
    assert told["refused"] == [422, "E-IDEM-CONFLICT", 1, 16]
    assert (told["price"], told["status"]) == (259.5, "submitted")
    assert told["cancelled"] in (200, 202)
    assert told["listed"] is True
    assert told["strange"] == "E-VALIDATION"
